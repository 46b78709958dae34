#!/bin/sh
# Makes an environment with LeRobot's own code, once, outside the checkout; then runs its Python with ARGUMENTS.
# Usage: setup_lerobot.sh PYTHON [ARGUMENTS...]
# Where that cannot be done it says so loudly, runs nothing and succeeds. Its place is named by the hash of all that
# goes into it, so a checkout finds the one it needs and two may use one; LeRobot brings torch with CUDA, 5 GB in all.
python=$1
[ $# -eq 0 ] || shift
needs='lerobot[feetech]==0.6.1 pytest pytest-timeout'
limit_s=${SEGUE_LEROBOT_TIMEOUT_S:-1200}
free_gb=10

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cache=${SEGUE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/segue}
pins=$root/constraints-lerobot.txt

skip() {
    echo "SKIPPED: what needs LeRobot's own code did not run: $1" >&2
    exit 0
}

# What Segue itself needs is told by pyproject.toml; Segue is not installed, it differs from checkout to checkout.
segue_needs() {
    "$python" - "$root/pyproject.toml" <<'PY'
import sys, tomllib
project = tomllib.load(open(sys.argv[1], "rb"))["project"]
print(*project["dependencies"], *project["optional-dependencies"]["so101"], sep="\n")
PY
}

# Everything in a folder with another name, so that what has the right name is whole.
make_environment() {
    "$python" -m venv "$draft" && mkdir "$draft/tmp" || return
    echo "$needs" | tr ' ' '\n' >"$draft/needs.txt"
    segue_needs >>"$draft/needs.txt" || return
    # In parts of gigabytes: not on a small /tmp, and not kept twice.
    TMPDIR="$draft/tmp" "$draft/bin/python" -m pip install --no-cache-dir --no-compile --progress-bar off \
        --disable-pip-version-check -c "$pins" -r "$draft/needs.txt" || return
    "$draft/bin/python" -c 'from lerobot.robots.so_follower import SO101Follower' || return
    rm -rf "$draft/tmp"
    # Scripts know where they were installed.
    grep -rIlF "$draft" "$draft/bin" | while read -r each; do sed -i "s|$draft|$place|g" "$each" || return; done
    mv "$draft" "$place"
}

# As a command of its own, so that the time limit covers all of it.
if [ -n "$SEGUE_LEROBOT_DRAFT" ]; then
    draft=$SEGUE_LEROBOT_DRAFT place=$SEGUE_LEROBOT_PLACE
    make_environment
    exit
fi

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null ||
    skip "it needs Python 3.12 or newer; say which with make LEROBOT_PYTHON=/path/to/python"
mkdir -p "$cache" || skip "$cache cannot be made; set SEGUE_CACHE to a folder with $free_gb GB"
hash=$({ "$python" -VV; echo "$needs"; segue_needs; cat "$pins"; } | sha256sum | cut -c1-16)
place=$cache/lerobot-$hash
works() { "$place/bin/python" -c '' 2>/dev/null; }

if ! works; then
    started=$(date +%s)
    exec 9>"$place.lock"
    flock -w "$limit_s" 9 || skip "somebody else has been making $place for $limit_s s"
fi
# Whoever waited finds it there.
if ! works; then
    free_kb=$(df -Pk "$cache" | awk 'NR == 2 { print $4 }')
    [ "$free_kb" -ge $((free_gb * 1000000)) ] || skip "$cache has less than $free_gb GB free; set SEGUE_CACHE"
    draft=$place.draft
    log=$place.log
    rm -rf "$draft" "$place" # left by somebody who was killed, or by an interpreter that is gone
    echo "making $place with $python (5 GB, some minutes the first time)"
    trap 'kill "$maker" 2>/dev/null; rm -rf "$draft"; exit 130' INT TERM
    left_s=$((started + limit_s - $(date +%s)))
    SEGUE_LEROBOT_DRAFT=$draft SEGUE_LEROBOT_PLACE=$place \
        timeout -k 10 $((left_s > 1 ? left_s : 1)) sh "$0" "$python" >"$log" 2>&1 &
    maker=$!
    wait "$maker"
    failed=$?
    trap - INT TERM
    [ "$failed" -eq 0 ] || rm -rf "$draft"
    [ "$failed" -ne 124 ] || skip "$place was not ready after $limit_s s; SEGUE_LEROBOT_TIMEOUT_S=… allows more"
    if [ "$failed" -ne 0 ]; then
        tail -n 5 "$log" >&2
        # A network that is down is nobody's fault, but pins that contradict each other are ours.
        ! grep -q ResolutionImpossible "$log" || exit 1
        skip "$place cannot be made; $log tells why"
    fi
    "$place/bin/python" -m pip freeze --disable-pip-version-check | grep -vxF -f "$pins" | sed 's/^/not pinned: /'
    echo "made $place: $(du -sm "$place" | cut -f1) MB in $(($(date +%s) - started)) s"
fi
exec 9>&-
[ $# -gt 0 ] || { echo "LeRobot is in $place"; exit 0; }
exec "$place/bin/python" "$@"
