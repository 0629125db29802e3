//! A policy of SELinux in CIL, as small as one can be that holds containers apart: by type from the host's files, by category
//! from each other. What it does not mention is allowed.

const PROCESS: &str = "fork transition sigchld sigkill sigstop signull signal ptrace getsched setsched getsession getpgid setpgid \
                       getcap setcap share getattr setexec setfscreate noatsecure siginh setrlimit rlimitinh dyntransition \
                       setcurrent execmem execstack execheap setkeycreate setsockcreate getrlimit";
const COMMON: &str = "ioctl read write create getattr setattr lock relabelfrom relabelto append map unlink link rename execute \
                      quotaon mounton audit_access open execmod watch";
/// Kinds of files with what else can be done with them.
const FILES: [(&str, &str); 7] = [
    ("file", "entrypoint execute_no_trans"),
    ("dir", "add_name remove_name reparent search rmdir"),
    ("lnk_file", ""),
    ("chr_file", ""),
    ("blk_file", ""),
    ("sock_file", ""),
    ("fifo_file", ""),
];
/// In the order of the kernel's numbers.
const SIDS: &str = "kernel security unlabeled fs file file_labels init any_socket port netif netmsg node igmp_packet icmp_socket \
                    tcp_socket sysctl_modprobe sysctl sysctl_fs sysctl_kernel sysctl_net sysctl_net_unix sysctl_vm sysctl_dev \
                    kmod policy scmp_packet devnull";
const TYPES: &str = "kernel_t host_file_t proc_t container_t container_file_t other_t";
const LOW: &str = "((s0)(s0))";
const ALL: &str = "((s0)(s0 (range c0 c1023)))";

/// The policy's source.
pub(crate) fn text() -> String {
    let mut lines = vec!["(handleunknown allow)".to_owned(), "(mls true)".to_owned()];
    let mut add = |line: String| lines.push(line);
    let files = FILES.map(|(class, more)| (class, format!("{COMMON} {more}")));
    for (class, permissions) in
        [("process", PROCESS)].into_iter().chain(files.iter().map(|(c, p)| (*c, p.as_str())))
    {
        add(format!("(class {class} ({permissions}))"));
    }
    add(format!("(classorder (process {}))", FILES.map(|(class, _)| class).join(" ")));
    let categories: Vec<String> = (0..1024).map(|number| format!("c{number}")).collect();
    SIDS.split_whitespace().for_each(|sid| add(format!("(sid {sid})")));
    add(format!("(sidorder ({SIDS}))"));
    add("(sensitivity s0)(sensitivityorder (s0))".to_owned());
    categories.iter().for_each(|category| add(format!("(category {category})")));
    add(format!("(categoryorder ({}))(sensitivitycategory s0 (range c0 c1023))", categories.join(" ")));
    add("(user system_u)(role system_r)(role object_r)".to_owned());
    add("(userrole system_u system_r)(userrole system_u object_r)(userlevel system_u (s0))".to_owned());
    add(format!("(userrange system_u {ALL})"));
    for name in TYPES.split_whitespace() {
        add(format!("(type {name})(roletype system_r {name})(roletype object_r {name})"));
    }
    add(format!("(typeattribute every)(typeattributeset every ({TYPES}))"));
    add("(typeattribute contained)(typeattributeset contained (container_t other_t))".to_owned());
    for sid in SIDS.split_whitespace() {
        let context = match sid {
            "kernel" | "init" | "any_socket" => format!("(system_u system_r kernel_t {ALL})"),
            _ => format!("(system_u object_r host_file_t {LOW})"),
        };
        add(format!("(sidcontext {sid} {context})"));
    }
    for (how, systems) in [
        ("xattr", "ext4 overlay"),
        ("trans", "tmpfs devtmpfs ramfs devpts mqueue"),
        ("task", "pipefs sockfs"),
    ] {
        for system in systems.split(' ') {
            add(format!("(fsuse {how} {system} (system_u object_r host_file_t {LOW}))"));
        }
    }
    for system in "proc sysfs rootfs cgroup2 selinuxfs securityfs".split(' ') {
        add(format!("(genfscon {system} / (system_u object_r proc_t {LOW}))"));
    }
    add(format!("(allow kernel_t every (process ({PROCESS})))(allow contained self (process ({PROCESS})))"));
    add("(allow contained kernel_t (process (sigchld)))".to_owned());
    for (class, permissions) in &files {
        let mut allow = |of: &str, to: &str| add(format!("(allow {of} {to} ({class} ({permissions})))"));
        allow("kernel_t", "every");
        allow("every", "contained");
        allow("contained", "container_file_t");
        allow("contained", "proc_t");
        match *class {
            // Pipes of the engine are the streams.
            "fifo_file" => allow("contained", "kernel_t"),
            "chr_file" => allow("contained", "host_file_t"),
            _ => {}
        }
    }
    for class in ["file", "dir"] {
        let free = "(or (eq t1 kernel_t) (eq t2 proc_t))";
        add(format!("(mlsconstrain ({class} (read write open)) (or (dom h1 h2) {free}))"));
    }
    lines.join("\n") + "\n"
}
