# shellcheck shell=sh disable=SC2154 # sourced by ../sallyport, which sets the variables
# Debian packages: what is missing is found by what it gives (a program, a header, a library), so that a
# machine where these came another way is left alone, and nothing is asked when nothing is missing.
# `packages` collects names, each after a space; install_packages() installs them in one go.

need() { # pairs PROGRAM=PACKAGE
    for pair; do
        command -v "${pair%%=*}" >/dev/null 2>&1 || packages="$packages ${pair#*=}"
    done
}

need_for() { # sub-command
    case $1 in
    up) need nft=nftables ;;
    bench)
        need nft=nftables ip=iproute2 wg=wireguard-tools wireguard-go=wireguard-go iperf3=iperf3 \
            curl=curl ping=iputils-ping
        ;;
    test)
        need nft=nftables ip=iproute2 wg=wireguard-tools wireguard-go=wireguard-go iperf3=iperf3 \
            tcpdump=tcpdump curl=curl conntrack=conntrack ping=iputils-ping sysctl=procps \
            shellcheck=shellcheck clang=clang valgrind=valgrind mkfs.ext4=e2fsprogs
        ;;
    esac
}

install_packages() {
    if [ -z "$packages" ]; then return; fi
    if ! command -v apt-get >/dev/null 2>&1; then
        die 1 "needs what Debian calls$packages, and there is no apt-get here: please install it by hand"
    fi
    if [ "$me" = 0 ]; then
        as_root=''
    elif command -v sudo >/dev/null 2>&1; then
        as_root=sudo
    else
        die 3 "needs Debian packages and this user may not install them; as root: apt-get install$packages"
    fi
    say "installing Debian packages:$packages"
    # The package lists may be absent (a fresh container) or old: then once more, with new ones.
    # shellcheck disable=SC2086 # both are lists of words on purpose
    apt_get install $packages || { apt_get update && apt_get install $packages; } ||
        die 1 "could not install Debian packages$packages (is there a network?); details in $log"
    packages=''
}

apt_get() {
    # shellcheck disable=SC2086 # empty or one word
    logged $as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
}
