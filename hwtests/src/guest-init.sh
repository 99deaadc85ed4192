#!/bin/busybox sh
# PID 1 of the Linux host of the lab: mounts, modules, an address, then commands from /dev/hvc0.
#
# A command arrives as one line "ID BASE64"; the answer is "BEGIN ID", the output in base64, "END ID CODE". Everything also
# goes to the serial console, so that its log tells the whole story.
bb=/bin/busybox
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root
$bb mkdir -p /bin /proc /sys /dev /run /tmp /mnt /root
$bb --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
exec >/dev/console 2>&1 </dev/null
# Kernel arguments "module.option=value" are for modules; insmod, unlike modprobe, does not look for them itself.
options() {
    for word in $(cat /proc/cmdline); do
        case "$word" in "$1".*) echo "${word#*.}" ;; esac
    done
}
while read -r module; do
    # shellcheck disable=SC2046
    insmod "/lib/modules/$module" $(options "${module%.ko}") || echo "lab: cannot load $module"
done </lib/modules/order
for word in $(cat /proc/cmdline); do
    case "$word" in lab.address=*) address=${word#lab.address=} ;; esac
done
ip link set lo up
ip link set eth0 up
ip addr add "$address" dev eth0
hostname linux-host

exec 3<>/dev/hvc0
stty raw -echo <&3
echo "READY" >&3
echo "lab: ready for commands"
while read -r id code <&3; do
    echo "$code" | base64 -d >/run/command
    echo "lab: + $(cat /run/command)"
    sh /run/command >/run/output 2>&1 </dev/null 3<&-
    result=$?
    cat /run/output
    {
        echo "BEGIN $id"
        base64 /run/output
        echo "END $id $result"
    } >&3
done
echo "lab: the command line is closed"
poweroff -f
