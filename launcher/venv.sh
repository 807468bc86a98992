# shellcheck shell=sh disable=SC2034,SC2154 # sourced by ../sallyport, which shares its variables
# .venv and what goes into it, stage by stage. .venv/stamps/ has a file per stage with the checksum of what
# the stage was made from, written last; a stage whose stamp fits is left alone. `stamps/busy` marks an
# install in progress: found at a start, it means that the last one was killed, and .venv is made anew.

probe='
import ensurepip, os, sys, venv
print(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
sys.exit(sys.version_info < (3, 11))
'

owner_may_run() { # the owner of the checkout must be able to use what root finds (not something in root's home)
    if ! foreign || ! command -v setpriv >/dev/null 2>&1; then return 0; fi
    setpriv --reuid="${owner%:*}" --regid="${owner#*:}" --clear-groups test -x "$1"
}

find_python() { # sets base: a Python >= 3.11 that can make virtual environments
    for candidate in python3 python3.13 python3.12 python3.11 python3.14 /usr/bin/python3; do
        base=$("$candidate" -I -c "$probe" 2>/dev/null) && owner_may_run "$base" && return
    done
    base=''
    return 1
}

works() { # a Python of at least 3.11 with pip in a .venv: what is left of an older one may be less
    [ -x "$python" ] && "$python" -I -c '
import sys, pip
sys.exit(sys.version_info < (3, 11) or sys.prefix == sys.base_prefix)' 2>/dev/null
}

need_compiler() { # $1 the Python whose headers are used
    set -- "$(readlink -f -- "$1")"
    headers=$("$1" -I -c 'import sysconfig; print(sysconfig.get_path("include"))')
    if [ ! -e "$headers/Python.h" ]; then
        case $1 in
        /usr/bin/python3.*) packages="$packages ${1##*/}-dev" ;;
        *) packages="$packages python3-dev" ;;
        esac
    fi
    cc=${CC:-$("$1" -I -c 'import sysconfig; print(sysconfig.get_config_var("CC").split()[0])')}
    # shellcheck disable=SC2086 # CC may carry options
    echo '#include <stdio.h>' | $cc -E -x c - >/dev/null 2>&1 || packages="$packages gcc libc6-dev"
    for library in /lib/*/libcrypto.so.3 /usr/lib*/libcrypto.so.3; do
        if [ -e "$library" ]; then return; fi
    done
    # Loaded at run time, with a slower fallback: worth a package, not worth stopping for.
    if command -v apt-get >/dev/null 2>&1; then packages="$packages libssl3"; fi
}

fits() { # stage, what it must have been made from
    [ -f "$stamps/$1" ] && [ "$(cat "$stamps/$1")" = "$2" ]
}

stamp() { printf '%s\n' "$2" >"$stamps/$1"; }

take_sums() {
    runtime_sum=$(sha256sum <"$root/requirements/runtime.lock")
    dev_sum=$(sha256sum <"$root/requirements/dev.lock")
}

native_sum() { cat "$root"/crypto_ext/[!_]*.[ch] "$root/crypto_ext/build.py" "$venv/pyvenv.cfg" | sha256sum; }

native_fits() {
    set -- "$root"/crypto_ext/_native*.so
    [ -e "$1" ] && fits native "$(native_sum)"
}

ready() { # sub-command
    take_sums
    [ -x "$python" ] && [ ! -e "$stamps/busy" ] && fits venv "$root" && fits runtime "$runtime_sum" &&
        { [ "$1" != test ] || fits dev "$dev_sum"; } && native_fits
}

make_venv() {
    if [ -e "$stamps/busy" ]; then rm -rf -- "$venv"; fi
    if works; then return; fi
    if ! find_python; then
        packages="$packages python3 python3-venv python3-dev gcc libc6-dev libssl3"
        install_packages
        find_python || die 1 "needs Python 3.11 or newer that can make virtual environments; none is here"
    fi
    need_compiler "$base"
    install_packages
    say "making .venv with $base"
    rm -rf -- "$venv"
    mkdir -p "$stamps"
    : >"$stamps/busy"
    logged "$base" -I -m venv "$venv" || die 1 "could not make $venv; details in $log"
}

name_checkout() { # tell .venv where the checkout is
    mkdir -p "$stamps"
    if [ -f "$stamps/venv" ]; then # the checkout was moved or copied with its .venv
        moved_from=$(cat "$stamps/venv")
        say "the checkout moved here from $moved_from: repairing .venv"
        logged "$python" -I -c '
import pathlib, sys
old, new = (path.encode() for path in sys.argv[1:])
for script in pathlib.Path(sys.prefix, "bin").iterdir():
    if script.is_file() and not script.is_symlink() and script.stat().st_size < 65536:
        text = script.read_bytes()
        if old in text:
            script.write_bytes(text.replace(old, new))
' "$moved_from/.venv" "$venv"
    fi
    for folder in "$venv"/lib/python3*/site-packages; do
        printf '%s\n' "$root" >"$folder/sallyport-checkout.pth"
    done
    write_command sallyport appliance
    write_command sallyport-wg appliance.wg
    stamp venv "$root"
}

write_command() { # name, module: a command that starts by itself from any folder
    cat >"$venv/bin/$1.new" <<END
#!/bin/sh
# Written by the launcher. -P keeps the current folder out of the import path; no bytecode is
# written into a checkout that belongs to somebody else.
here=\$(dirname -- "\$(readlink -f -- "\$0")")
unset PYTHONHOME PYTHONPATH
if [ "\$(stat -c %u -- "\$here")" != "\$(id -u)" ]; then export PYTHONDONTWRITEBYTECODE=1; fi
exec "\$here/python" -P -m $2 "\$@"
END
    chmod 755 "$venv/bin/$1.new"
    mv -f -- "$venv/bin/$1.new" "$venv/bin/$1"
}

install_lock() { # name of the lock, its checksum
    say "installing the Python packages of requirements/$1.lock"
    : >"$stamps/busy"
    logged env -u PIP_TARGET -u PIP_PREFIX -u PIP_ROOT -u PIP_USER -u PIP_REQUIREMENT -u PIP_CONSTRAINT \
        PIP_ROOT_USER_ACTION=ignore "$python" -I -m pip install --disable-pip-version-check --no-input \
        --retries 2 --timeout 30 --require-hashes --no-deps --only-binary :all: \
        -r "$root/requirements/$1.lock" || {
        rm -f -- "$stamps/busy"
        die 1 "could not install the Python packages (is there a network?); details in $log"
    }
    stamp "$1" "$2"
    rm -f -- "$stamps/busy"
}

make_stages() { # sub-command
    make_venv
    fits venv "$root" || name_checkout
    fits runtime "$runtime_sum" || install_lock runtime "$runtime_sum"
    if [ "$1" = test ] && ! fits dev "$dev_sum"; then install_lock dev "$dev_sum"; fi
    rm -f -- "$stamps/busy"
    native_fits || build_native
}

build_native() {
    need_compiler "$python"
    install_packages
    say 'compiling the extension module'
    logged "$python" -P -m crypto_ext.build || die 1 "could not compile crypto_ext; details in $log"
    stamp native "$(native_sum)"
}
