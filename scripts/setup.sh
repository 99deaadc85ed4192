#!/bin/sh
# Installs what building and testing Ironbay needs and this machine lacks. Says what, and why. Changes nothing that is there.
set -eu
here=$(dirname "$0")

# package, and what it is for
needs='
gcc|links the programs, and compiles the C parts of a few crates
libc6-dev|C headers for them
qemu-system-x86|the machines of the lab: emulated servers with NVMe drives (10.0 or newer)
ipxe-qemu|network boot firmware of those machines
seabios|BIOS of those machines
dnsmasq-base|DHCP and TFTP in the network of the lab
iproute2|network namespace, bridge and taps of the lab
socat|lets you attach to the serial console of a machine
tshark|captures what hosts and nodes say to one another in the lab, and looks for errors in it
'

wanted=$(echo "$needs" | cut -d'|' -f1 | xargs sh "$here/debian.sh" missing)
if [ -n "$wanted" ]; then
    echo "setup: installing Debian packages:"
    for package in $wanted; do
        echo "  $package: $(echo "$needs" | sed -n "s/^$package|//p")"
    done
    # shellcheck disable=SC2086
    sh "$here/debian.sh" install $wanted
else
    echo "setup: all Debian packages are there"
fi

major=$(qemu-system-x86_64 --version | sed -n 's/^QEMU emulator version \([0-9]*\).*/\1/p')
if [ "${major:-0}" -lt 10 ]; then
    echo "setup: QEMU $major is too old for an IOMMU with emulated NVMe drives; installing the newer one"
    sh "$here/debian.sh" install qemu-system-x86 ipxe-qemu seabios
fi

target=x86_64-unknown-linux-musl
if [ ! -d "$(rustc --print target-libdir --target $target)" ]; then
    echo "setup: adding the Rust target $target: programs of the node are static"
    if ! { command -v rustup >/dev/null && rustup -q target add $target; }; then
        echo "setup: it cannot be added; the image build will link statically against glibc instead"
    fi
fi

if ! command -v terraform >/dev/null && ! command -v tofu >/dev/null; then
    echo "setup: neither terraform nor tofu is in PATH. OpenTofu: https://opentofu.org/docs/intro/install/,"
    echo "       Terraform: https://developer.hashicorp.com/terraform/install. Without them the demo and the scenarios use the"
    echo "       ironbay command; the provider's own tests need one of them, or IRONBAY_SKIP_TERRAFORM=1."
fi
