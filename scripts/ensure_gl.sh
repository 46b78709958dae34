#!/bin/sh
# Finds a way to render without a screen and writes its name into a file; as root, installs what is missing.
# Usage: ensure_gl.sh PYTHON FILE
python=$1
file=$2
works() { MUJOCO_GL=$1 "$python" -c 'import mujoco; mujoco.GLContext(64, 64).make_current()' >/dev/null 2>&1; }
find_one() {
    for name in egl osmesa; do
        if works "$name"; then
            echo "$name" >"$file"
            return 0
        fi
    done
    return 1
}
find_one && exit 0
packages="libegl1 libegl-mesa0 libgl1-mesa-dri libosmesa6"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing system packages for rendering without a screen: $packages"
    apt-get update -qq && apt-get install -y -qq $packages >/dev/null
    find_one && exit 0
fi
echo "cannot render without a screen; install these system packages and run make setup again:"
echo "    sudo apt-get install $packages"
exit 1
