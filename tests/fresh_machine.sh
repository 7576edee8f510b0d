#!/usr/bin/env bash
# Follows README.rst on a new machine:
#
#     tests/fresh_machine.sh trixie|bookworm|sid [argument of './run tests' ...]
#
# Makes that Debian in a temporary folder, with only the packages that the README names, and clones
# this repository into it. There it runs, as an ordinary user, the README's two commands and a
# Horovod job. From the host it takes only the settings for the package registries and the test
# data. Needs root, debootstrap and git.
set -euo pipefail
set -m      # each step gets its own process group, so one signal can end the whole step

repository=$(dirname "$(dirname "$(readlink -f "$0")")")
folder=''                           # holds everything that this script makes
machine=''                          # the machine's /, inside $folder
user=1000 home=/home/user           # the ordinary user's id and home folder
environment=() steps=() step='' child=''

fail() {
    echo "error: $*" >&2
    exit 1
}

# ---- running steps, and cleaning up after success or failure

# step NAME command ...: runs and times the command. It runs in the background because the shell
# acts on a signal only while it waits.
step() {
    step=$1 SECONDS=0
    shift
    printf '\n==== %s\n' "$step"
    "$@" < /dev/null &
    child=$!
    wait "$child"
    steps+=("$(printf '%7d  %s' $SECONDS "$step")")
    step='' child=''
}

# quietly command ...: runs the command and shows its output only if it fails.
quietly() {
    "$@" > "$folder/log" 2>&1 || {
        tail -n 15 "$folder/log" >&2
        return 1
    }
}

# Ends the processes of an interrupted step, and those that a step has left in the machine.
end_processes() {
    local root process
    [ -z "$child" ] || kill -KILL -- "-$child" 2> /dev/null || true
    for root in /proc/[0-9]*/root; do
        process=${root#/proc/} process=${process%/root}
        [ "$(readlink "$root")" != "$machine" ] || kill -KILL "$process" || true
    done
}

# Prints the mount points inside $folder, the deepest first.
list_mounts() {
    awk -v folder="$folder/" 'index($2, folder) == 1 { print $2 }' /proc/mounts | sort -r
}

unmount_all() {
    local mount
    for _ in 1 2 3 4 5; do      # a process may keep a mount busy for a moment after its end
        for mount in $(list_mounts); do
            umount "$mount" || true
        done
        [ -n "$(list_mounts)" ] || return 0
        sleep 1
    done
    return 1
}

# Unmounts everything before it removes anything, because the mounts belong to the host.
remove_all() {
    end_processes
    unmount_all || {
        echo "error: $(list_mounts | tr '\n' ' ')can't be unmounted, so $folder stays: end what" \
             "'fuser -vm $machine/proc' lists, then 'umount -R $machine/*' and" \
             "'rm -r --one-file-system $folder'" >&2
        return 1
    }
    rm -rf --one-file-system "$folder"
}

finish() {
    local status=$?
    trap '' INT TERM HUP
    [ -z "$step" ] || steps+=("$(printf '%7d  %s: not finished' $SECONDS "$step")")
    remove_all || status=1
    printf '%s\n' '' 'seconds  step' "${steps[@]}"
    exit "$status"
}

# ---- reading README.rst

readme_packages() {
    tr '\n' ' ' < "$repository/README.rst" | grep -o "\`\`apt-get install [^\`]*" |
        sed -n '1s/.*apt-get install //p'
}

readme_commands() {
    sed -n '/^Start$/,/^Use a model$/p' "$repository/README.rst" |
        sed ':next; /\\$/ { N; s/ *\\\n */ /; b next }' | sed -n 's/^    \(\.\/run .*\)/\1/p'
}

# ---- the host's settings for the package registries

# Prints the Debian mirror of the host's apt. A host of another distribution has none: debootstrap
# then uses its default.
debian_mirror() {
    local sources=/etc/apt/sources.list
    { cat $sources $sources.d/*.list $sources.d/*.sources 2> /dev/null || true; } |
        grep -v '^ *#' | grep -oE -m 1 'https?://[^ ]*/debian/?( |$)' || true
}

apt_settings() {
    apt-config dump Acquire | grep -v IndexTargets
}

# Prints the environment variables that pip reads, except for a wheel folder and a cache, which a
# new machine would not have. OPENBLAS_* describes the processor, which is the host's.
host_variables() {
    local names='PIP_.*|SSL_CERT_.*|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|[A-Za-z]*_(proxy|PROXY)|OPENBLAS_.*'
    env -0 | grep -zE "^($names)=" | grep -zvE '^PIP_(FIND_LINKS|CACHE_DIR)='
}

# Prints the paths of the user's pip configuration, relative to the home folder.
user_files() {
    (cd "$HOME" && find .config/pip .pip -name pip.conf 2> /dev/null) || true
}

# Prints the paths, without the first slash, of the system's pip configuration and of all files that
# the settings of apt and pip name, such as certificates and constraints.
system_files() {
    local file
    {
        echo /etc/pip.conf /etc/xdg/pip/pip.conf
        apt_settings
        printf '%s\n' "${environment[@]}"
        cat /etc/pip.conf /etc/xdg/pip/pip.conf "${PIP_CONFIG_FILE:-/dev/null}" 2> /dev/null || true
        user_files | (cd "$HOME" && xargs -r cat)
    } | grep -oE "/[^ ,;\"']+" | sort -u | while read -r file; do
        [ ! -f "$file" ] || echo "${file#/}"
    done
}

# copy_into_machine FROM TO: copies the files that standard input names from the host's folder FROM
# to the machine's folder TO. The machine's own tar unpacks them, so links there resolve inside the
# machine.
copy_into_machine() {
    tar --create --directory "$1" --dereference --mode=a+rX --files-from - |
        chroot "$machine" tar --extract --directory "$2" --no-same-owner --unlink-first
}

copy_settings() {
    apt_settings > "$machine/etc/apt/apt.conf.d/90host"
    system_files | copy_into_machine / /
    user_files | copy_into_machine "$HOME" "$home"
}

# ---- the machine

as_root() {
    chroot "$machine" env -i "${environment[@]}" HOME=/root DEBIAN_FRONTEND=noninteractive \
        PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# as_user 'shell command' [argument ...]: runs the command in the clone
as_user() {
    chroot --userspec=$user:$user "$machine" env -i "${environment[@]}" HOME=$home \
        PATH=/usr/bin:/bin sh -c "cd ~/bert && $1" sh "${@:2}"
}

make_machine() {
    # shellcheck disable=SC2046
    quietly debootstrap --variant=minbase "$suite" "$machine" $(debian_mirror)
    mount -t proc proc "$machine/proc"
    mount -t tmpfs -o mode=1777 tmpfs "$machine/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666,gid=5,mode=620 devpts "$machine/dev/pts"
    cp --remove-destination /etc/resolv.conf "$machine/etc/resolv.conf"
    # Horovod crashes with a segmentation fault if the machine's own name has no address
    printf '127.0.0.1 localhost %s\n' "$(hostname)" > "$machine/etc/hosts"
    chroot "$machine" useradd --uid $user --create-home --home-dir $home user
    # the installation of the package ca-certificates will register these certificates
    find /usr/local/share/ca-certificates -name '*.crt' 2> /dev/null | sed 's,^/,,' |
        copy_into_machine / /
    copy_settings
}

install_packages() {
    quietly as_root apt-get -q update
    # shellcheck disable=SC2086
    quietly as_root apt-get -q -y install $1
    copy_settings       # again, because a package may have replaced one of the host's files
}

# Copies the test data, and the seeds beside it, which tests read, too.
copy_data() {
    mkdir "$machine$home/shared"
    cp -rL "$data" "$machine$home/shared/data"
    [ ! -d "$data/../seeds" ] || cp -rL "$data/../seeds" "$machine$home/shared/seeds"
}

# Clones the repository with its uncommitted changes. git needs the option because another user may
# own a CI's checkout.
clone_repository() {
    local clone=$machine$home/bert
    git -c safe.directory='*' clone --quiet --no-hardlinks "$repository" "$clone"
    git -c safe.directory='*' -C "$repository" diff --binary HEAD |
        git -C "$clone" apply --allow-empty
    [ -z "$data" ] || copy_data
    chroot "$machine" chown -R $user:$user $home
}

# ---- what the machine runs

run_tests() {
    local status=0
    as_user "$test_command \"\$@\"" "$@" || status=$?
    # pytest's exit code for 'no tests collected', which arguments such as -k can cause
    [ "$status" -ne 5 ] || [ $# -eq 0 ] || status=0
    return "$status"
}

# Builds Horovod. If ./run reports a missing package, installs it by the command that ./run prints.
build_horovod() {
    local problem packages
    problem=$(as_user './run horovodrun --version' 2>&1 | tee >(cat >&2)) && return
    packages=$(sed -n "s/^error: .*'apt-get install \([^']*\)'.*/\1/p" <<< "$problem")
    [ -n "$packages" ] || return 1
    install_packages "$packages"
    as_user './run horovodrun --version'
}

# Runs the README's first command in two processes, on a few examples.
run_horovod_job() {
    as_user "./run horovodrun -np 2 -H localhost:2 python bert/${first_command#./run } \
        --max_train_samples 64 --max_eval_samples 64 --output_dir by-two"
    as_user 'grep "\"workers\": 2" by-two/results.json'
}

# ---- main

case ${1-} in
    trixie | bookworm | sid) suite=$1 ;;
    *) fail "which Debian? 'tests/fresh_machine.sh trixie', bookworm or sid" ;;
esac
shift
[ "$(id -u)" = 0 ] || fail "needs root, for chroot and mount: 'sudo tests/fresh_machine.sh $suite'"
command -v debootstrap > /dev/null ||
    fail "no debootstrap: install it with 'apt-get install debootstrap'"

packages=$(readme_packages)
mapfile -t commands < <(readme_commands)
[ -n "$packages" ] || fail "README.rst names no packages: it had '\`\`apt-get install …\`\`'"
[ ${#commands[@]} -eq 2 ] ||
    fail "README.rst has ${#commands[@]} commands './run …' under 'Start' and not two"
first_command=${commands[0]} test_command=${commands[1]}

mapfile -t -d '' environment < <(host_variables)
data=$(readlink -m "${BERT_TEST_DATA:-$repository/../shared/data}")
if [ -d "$data" ]; then
    environment+=("BERT_TEST_DATA=$home/shared/data" BERT_NO_SKIPS=but-optional)
else
    echo "no test data: there is no folder $data (BERT_TEST_DATA names another)," \
         "so that tests may be skipped"
    data=''
fi

folder=$(readlink -f "$(mktemp -d "${TMPDIR:-/tmp}/fresh-$suite.XXXXXX")")
case $folder in
    *[!A-Za-z0-9._/-]*) rmdir "$folder"; fail "TMPDIR=$TMPDIR: /proc/mounts writes only letters," \
        "digits and ._- as they are: name another with 'TMPDIR=/tmp tests/fresh_machine.sh …'" ;;
esac
machine=$folder/machine
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

step "debootstrap $suite" make_machine
step "apt-get install $packages" install_packages "$packages"
step 'git clone' clone_repository
step "$first_command" as_user "$first_command"
step "$test_command${*:+ $*}" run_tests "$@"
step 'building Horovod' build_horovod
step 'a job of Horovod' run_horovod_job
