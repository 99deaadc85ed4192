#!/bin/sh
# Debian packages, without touching the machine's own package lists.
#
#   debian.sh kernel [SERIES]             newest packaged kernel of a series, 6.12 by default: "package version sha256"
#   debian.sh download DIR PACKAGE[=VER]  one package file into DIR (hash checked by apt); prints its path
#   debian.sh closure DIR PACKAGE...      packages with everything they depend on, as for an empty machine
#   debian.sh install PACKAGE...          install on this machine (needs root)
#   debian.sh missing PACKAGE...          those of the packages that this machine lacks
#
# The mirror and the suite come from the machine's own sources. Debian 12 has neither kernel 6.12 nor QEMU 10 in its base
# suite, so its backports suite of the same mirror is put beside it, in a private list directory: the machine's
# sources and lists stay as they are, and no administrator finds a suite that nobody asked for. Debian 13 has no kernel 6.1,
# which the lab uses as an older host, so Debian 12's suite is put beside it there.
set -eu

say() { echo "debian.sh: $*" >&2; }
fail() { say "$*"; exit 1; }

[ -r /etc/os-release ] || fail "there is no /etc/os-release; kernel and QEMU are taken from Debian packages, use Debian 12 or 13"
. /etc/os-release
case "${ID:-}:${VERSION_CODENAME:-}" in
    debian:?*) ;;
    *) fail "this is ${PRETTY_NAME:-an unknown system}; kernel and QEMU are taken from Debian packages, use Debian 12 or 13 (a container will do)" ;;
esac

cache=${IRONBAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ironbay}
apt=$cache/apt
suite=$VERSION_CODENAME
target=$suite
[ "$suite" = bookworm ] && target=$suite-backports
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/empty.d"
: >>"$apt/empty-status"

# The options that make apt use the private lists. $1.. = the apt command line.
private() {
    tool=$1
    shift
    "$tool" -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts="$apt/empty.d" \
        -o Dir::State::lists="$apt/lists" -o Dir::Cache::pkgcache="$apt/cache/pkgcache.bin" \
        -o Dir::Cache::srcpkgcache="$apt/cache/srcpkgcache.bin" -o Dir::Cache::archives="$apt/cache/archives" \
        -o APT::Sandbox::User=root -o APT::Get::List-Cleanup=false -o Acquire::Retries=3 \
        -o Acquire::Languages=none -o APT::Install-Recommends=false "$@"
}

# Writes the private sources: the machine's entries of its own suite, and the target suite and Debian 12 on the same mirror.
sources() {
    key=/usr/share/keyrings/debian-archive-keyring.gpg
    option=
    [ -r "$key" ] && option="[signed-by=$key] "
    apt-get indextargets --no-release-info --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        sort -u | awk -v suite="$suite" -v target="$target" -v option="$option" '
            $2 == suite || index($2, suite "-") == 1 { print "deb " option $1 " " $2 " " $3; seen[$2] = 1 }
            $2 == suite && $3 == "main" { mirror = $1 }
            END {
                if (mirror == "") exit
                if (!(target in seen)) print "deb " option mirror " " target " main"
                if (suite != "bookworm") print "deb " option mirror " bookworm main"
            }'
}

# Refreshes the private lists when they are older than a day or the sources changed.
refresh() {
    sources >"$apt/sources.new"
    [ -s "$apt/sources.new" ] || fail "the package sources of this machine name no suite $suite; add Debian's main archive to /etc/apt"
    if cmp -s "$apt/sources.new" "$apt/sources.list" && [ -n "$(find "$apt/stamp" -mmin -1440 2>/dev/null)" ]; then
        return
    fi
    mv "$apt/sources.new" "$apt/sources.list"
    say "reading the package lists of $suite and $target"
    if private apt-get update >"$apt/update.log" 2>&1; then
        touch "$apt/stamp"
    elif [ -e "$apt/stamp" ]; then
        say "the mirror does not answer; going on with older lists"
    else
        tail -5 "$apt/update.log" >&2
        fail "the package lists cannot be read; is there a network, and a proxy if one is needed (apt.conf Acquire::http::Proxy)?"
    fi
}

kernel() {
    series=${1:-6.12}
    line=$(private apt-cache show linux-image-amd64 | awk -v series="$series." '
        /^Version: / { version = $2 }
        /^Depends: / && index(version, series) == 1 { print version, $2 }' | sort -V | tail -1)
    [ -n "$line" ] || fail "the suites $suite and $target offer no kernel $series (package linux-image-amd64)"
    version=${line% *}
    package=${line#* }
    sum=$(private apt-cache show "$package=$version" | awk '/^SHA256: / { print $2; exit }')
    echo "$package $version $sum"
}

download() {
    dir=$1
    wanted=$2
    mkdir -p "$dir"
    work=$(mktemp -d "$dir/partial.XXXXXX")
    if ! (cd "$work" && private apt-get download -q=2 "$wanted" >log 2>&1); then
        tail -3 "$work/log" >&2
        rm -r "$work"
        return 1
    fi
    for file in "$work"/*.deb; do
        mv "$file" "$dir/"
        echo "$dir/${file##*/}"
    done
    rm -r "$work"
}

# Package files for an empty machine: an empty status file makes apt resolve every dependency.
closure() {
    dir=$1
    shift
    mkdir -p "$dir/partial"
    private apt-get install -y -q=2 --download-only -o Dir::State::status="$apt/empty-status" \
        -o Dir::Cache::archives="$dir" -o Debug::NoLocking=true "$@" >"$dir/log" 2>&1 || {
        tail -5 "$dir/log" >&2
        fail "these packages cannot be fetched: $*"
    }
    private apt-get install -y --print-uris -o Dir::State::status="$apt/empty-status" \
        -o Dir::Cache::archives="$apt/empty.d" -o Debug::NoLocking=true "$@" |
        awk -v dir="$dir" '/^'\''/ { print dir "/" $2 }'
}

install() {
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || fail "installing needs root, and there is no sudo: run this as root"
        exec sudo IRONBAY_CACHE="$cache" sh "$0" install "$@"
    fi
    DEBIAN_FRONTEND=noninteractive private apt-get install -y -q=2 -t "$target" "$@" >"$apt/install.log" 2>&1 || {
        tail -15 "$apt/install.log" >&2
        fail "these packages cannot be installed: $* (the whole story is in $apt/install.log)"
    }
}

missing() {
    for package in "$@"; do
        dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed$' || echo "$package"
    done
}

command=${1:-}
[ $# -gt 0 ] && shift
case "$command" in
    missing) missing "$@"; exit ;;
    kernel | download | closure | install) ;;
    *) sed -n '2,/^set/p' "$0" | sed 's/^# \{0,1\}//;$d' >&2; exit 2 ;;
esac
# One at a time: two builds may start together.
exec 9>"$apt/lock"
flock 9
refresh
"$command" "$@"
