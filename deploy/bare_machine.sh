#!/usr/bin/env bash
# Run README's first command on a bare Debian, as a user without rights, and then the steps of deploy/Dockerfile:
#   sudo bash deploy/bare_machine.sh [SUITE]        trixie, with Python 3.13, unless SUITE says another
# Nothing is left on this machine. It needs root, debootstrap, and this machine's way to a package index: pip's settings, its
# certificates and its resolver are copied. MIRROR=http://... is where Debian's packages come from.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
suite=${1:-trixie}
[ "$(id -u)" = 0 ] || { echo "bare_machine: it makes a root folder, so it must run as root: sudo bash deploy/bare_machine.sh" >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "bare_machine: install debootstrap (Debian and Ubuntu: apt-get install debootstrap)" >&2; exit 2; }

if [ -z "${BARE_ROOT:-}" ]; then
    BARE_ROOT=$(mktemp -d)
    export BARE_ROOT
    trap 'rm -rf --one-file-system "$BARE_ROOT"' EXIT
    # Mounts and processes of their own: both end with this command, whatever happens.
    unshare --mount --pid --fork --kill-child bash "${BASH_SOURCE[0]}" "$suite"
    exit
fi

say() { echo "bare_machine: $*"; }
root=$BARE_ROOT
chmod 755 "$root" # the user without rights is to enter it
say "$suite, minimal, with python3 and python3-venv"
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$suite" "$root" ${MIRROR:+"$MIRROR"} >"$root.log" 2>&1 ||
    { tail -5 "$root.log" >&2; exit 1; }
rm "$root.log"
for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
    [ ! -e "$file" ] || install -D -m 644 "$file" "$root$file"
done
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm" # of Python's locks between processes

# What the machine's own pip is told by the environment, and nothing else of it.
settings=("PATH=/usr/local/bin:/usr/bin:/bin" "LANG=C.UTF-8")
while IFS= read -r setting; do settings+=("$setting"); done < <(env | grep -E '^(PIP_(INDEX_URL|EXTRA_INDEX_URL|CERT|DEFAULT_TIMEOUT)|SSL_CERT_FILE|https?_proxy|no_proxy)=' || true)
as() { # USER FOLDER COMMAND
    chroot --userspec="$1" "$root" /usr/bin/env -i "${settings[@]}" HOME="/home/$1" bash -c "cd $2 && $3"
}

chroot "$root" useradd --create-home reader
git archive HEAD | tar -x -C "$root/home/reader"
chroot "$root" chown -R reader /home/reader
say "bash run_all.sh, under $(chroot "$root" python3 --version)"
SECONDS=0
as reader /home/reader "bash run_all.sh"
say "$SECONDS s with the installation; .venv $(du -sh "$root/home/reader/.venv" | cut -f1)"

# The image's own base has no externally managed Python: an environment stands for it.
chroot "$root" python3 -m venv /image
settings[0]="PATH=/image/bin:/usr/local/bin:/usr/sbin:/usr/bin:/bin"
folder=/
sed -e ':join' -e '/\\$/{N;s/\\\n//;b join}' deploy/Dockerfile | while read -r step words; do
    case $step in
    RUN) say "Dockerfile: RUN ${words:0:60}" && as root "$folder" "$words" </dev/null >/dev/null ;;
    COPY)
        mkdir -p "$root$folder"
        read -ra sources <<<"$words"
        target=${sources[-1]}
        [ -d "${sources[0]}" ] && mkdir -p "$root$folder/$target"
        for source in "${sources[@]:0:${#sources[@]}-1}"; do
            if [ -d "$source" ]; then git archive "HEAD:$source" | tar -x -C "$root$folder/$target"; else cp "$source" "$root$folder/$target"; fi
        done
        ;;
    WORKDIR) folder=$words && mkdir -p "$root$words" ;;
    "" | \#* | FROM | USER | ENV | VOLUME | EXPOSE | CMD) ;;
    *) say "Dockerfile: $step is not known here" >&2 && exit 1 ;;
    esac
done
cp -r "$root/home/reader/outputs" "$root/outputs"
say "the image's endpoint, on the study of the first command"
as study /app "STUDY_OUTPUTS=/outputs python - " <<'PYTHON'
import subprocess
import sys
import time
import urllib.request

server = subprocess.Popen([sys.executable, "-m", "lib.serving.endpoint.app", "sample", "--port", "8765"])
for _ in range(100):
    try:
        answer = urllib.request.urlopen("http://127.0.0.1:8765/predict?vol_moving_avg=12345&adj_close_rolling_med=25").read()
        break
    except OSError:
        time.sleep(0.2)
server.terminate()
server.wait()
print("GET /predict answers", int(answer))
PYTHON
say "done"
