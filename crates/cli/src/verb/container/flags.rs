//! The flags that `run` and `create` share.

use crate::parse::duration;
use crate::parse::size::{bytes, bytes_or_unlimited, cpus};
use clap::Args;

/// What a container shall be like.
#[derive(Debug, Args)]
pub(crate) struct ContainerFlags {
    /// Extra line of /etc/hosts, as host:ip
    #[arg(long, value_name = "list")]
    pub(crate) add_host: Vec<String>,
    /// Annotation for the OCI runtime, as key=value
    #[arg(long, value_name = "map")]
    pub(crate) annotation: Vec<String>,
    /// Stream to join: stdin, stdout or stderr
    #[arg(short = 'a', long, value_name = "list")]
    pub(crate) attach: Vec<String>,
    /// Share of block I/O, 10 to 1000; 0 leaves it
    #[arg(long, value_name = "uint16", default_value_t = 0, hide_default_value = true)]
    pub(crate) blkio_weight: u16,
    /// Share of block I/O on a device, as path:weight
    #[arg(long, value_name = "list")]
    pub(crate) blkio_weight_device: Vec<String>,
    /// Capability to add
    #[arg(long, value_name = "list")]
    pub(crate) cap_add: Vec<String>,
    /// Capability to take away
    #[arg(long, value_name = "list")]
    pub(crate) cap_drop: Vec<String>,
    /// Cgroup to put the container below
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) cgroup_parent: String,
    /// Cgroup namespace: host or private
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) cgroupns: String,
    /// File to write the container's id to
    #[arg(long, value_name = "string")]
    pub(crate) cidfile: Option<String>,
    /// CFS period in microseconds
    #[arg(long, value_name = "int", default_value_t = 0, hide_default_value = true)]
    pub(crate) cpu_period: i64,
    /// CFS quota in microseconds a period
    #[arg(
        long,
        value_name = "int",
        default_value_t = 0,
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    pub(crate) cpu_quota: i64,
    /// Real-time period in microseconds
    #[arg(long, value_name = "int", default_value_t = 0, hide_default_value = true)]
    pub(crate) cpu_rt_period: i64,
    /// Real-time runtime in microseconds
    #[arg(long, value_name = "int", default_value_t = 0, hide_default_value = true)]
    pub(crate) cpu_rt_runtime: i64,
    /// Share of CPU time against others
    #[arg(short = 'c', long, value_name = "int", default_value_t = 0, hide_default_value = true)]
    pub(crate) cpu_shares: i64,
    /// How many CPUs' worth of time, such as 1.5
    #[arg(long, value_name = "decimal", value_parser = cpus)]
    pub(crate) cpus: Option<i64>,
    /// CPUs to run on, such as 0-3 or 0,1
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) cpuset_cpus: String,
    /// Memory nodes to use, such as 0-3 or 0,1
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) cpuset_mems: String,
    /// Device of the host to give, as path[:path][:rwm]
    #[arg(long, value_name = "list")]
    pub(crate) device: Vec<String>,
    /// Device cgroup rule, such as 'c 13:* rwm'
    #[arg(long, value_name = "list")]
    pub(crate) device_cgroup_rule: Vec<String>,
    /// Most bytes a second to read, as path:rate
    #[arg(long, value_name = "list")]
    pub(crate) device_read_bps: Vec<String>,
    /// Most reads a second, as path:rate
    #[arg(long, value_name = "list")]
    pub(crate) device_read_iops: Vec<String>,
    /// Most bytes a second to write, as path:rate
    #[arg(long, value_name = "list")]
    pub(crate) device_write_bps: Vec<String>,
    /// Most writes a second, as path:rate
    #[arg(long, value_name = "list")]
    pub(crate) device_write_iops: Vec<String>,
    /// Without effect
    #[arg(long, hide = true)]
    pub(crate) disable_content_trust: bool,
    /// Name server
    #[arg(long, value_name = "list")]
    pub(crate) dns: Vec<String>,
    /// Option for /etc/resolv.conf
    #[arg(long, visible_alias = "dns-opt", value_name = "list")]
    pub(crate) dns_option: Vec<String>,
    /// Domain to search names in
    #[arg(long, value_name = "list")]
    pub(crate) dns_search: Vec<String>,
    /// NIS domain name
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) domainname: String,
    /// Program to run instead of the image's entrypoint
    #[arg(long, value_name = "string")]
    pub(crate) entrypoint: Option<String>,
    /// Variable for the environment, NAME=value or NAME
    #[arg(short = 'e', long, value_name = "list")]
    pub(crate) env: Vec<String>,
    /// File with variables, one a line
    #[arg(long, value_name = "list")]
    pub(crate) env_file: Vec<String>,
    /// Port or range of ports that is of interest to others
    #[arg(long, value_name = "list")]
    pub(crate) expose: Vec<String>,
    /// GPUs to give: all, a number, or device=...
    #[arg(long, value_name = "gpu-request")]
    pub(crate) gpus: Vec<String>,
    /// Further group of the process
    #[arg(long, value_name = "list")]
    pub(crate) group_add: Vec<String>,
    /// Command that tells whether all is well
    #[arg(long, value_name = "string")]
    pub(crate) health_cmd: Option<String>,
    /// Time from one check to the next, such as 30s
    #[arg(long, value_name = "duration", value_parser = duration::nanos)]
    pub(crate) health_interval: Option<i64>,
    /// What happens when it becomes unhealthy: none, kill, restart or stop
    #[arg(long, value_name = "string", value_parser = ["none", "kill", "restart", "stop"])]
    pub(crate) health_on_failure: Option<String>,
    /// Failures in a row that make the container unhealthy
    #[arg(long, value_name = "int", default_value_t = 0, hide_default_value = true)]
    pub(crate) health_retries: i64,
    /// Time between checks while the container starts, such as 5s
    #[arg(long, value_name = "duration", value_parser = duration::nanos)]
    pub(crate) health_start_interval: Option<i64>,
    /// Time to start in, during which failures do not count
    #[arg(long, value_name = "duration", value_parser = duration::nanos)]
    pub(crate) health_start_period: Option<i64>,
    /// How long a check may take
    #[arg(long, value_name = "duration", value_parser = duration::nanos)]
    pub(crate) health_timeout: Option<i64>,
    /// Host name
    #[arg(short = 'h', long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) hostname: String,
    /// Run a small init that reaps processes and passes signals on
    #[arg(long)]
    pub(crate) init: bool,
    /// Give the command our standard input
    #[arg(short = 'i', long)]
    pub(crate) interactive: bool,
    /// IPv4 address in the first network
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) ip: String,
    /// IPv6 address in the first network
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) ip6: String,
    /// IPC namespace: private, shareable, host, none or container:NAME
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) ipc: String,
    /// Without effect: kernels have no such limit any more
    #[arg(long, value_name = "bytes", value_parser = bytes)]
    pub(crate) kernel_memory: Option<i64>,
    /// Without effect on Linux
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) isolation: String,
    /// Label, as key=value
    #[arg(short = 'l', long, value_name = "list")]
    pub(crate) label: Vec<String>,
    /// File with labels, one a line
    #[arg(long, value_name = "list")]
    pub(crate) label_file: Vec<String>,
    /// Container to know by name, as NAME[:alias]
    #[arg(long, value_name = "list")]
    pub(crate) link: Vec<String>,
    /// Link-local address
    #[arg(long, value_name = "list")]
    pub(crate) link_local_ip: Vec<String>,
    /// Where output is logged to
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) log_driver: String,
    /// Option of the log driver, as key=value
    #[arg(long, value_name = "list")]
    pub(crate) log_opt: Vec<String>,
    /// MAC address
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) mac_address: String,
    /// Most memory, such as 512m
    #[arg(short = 'm', long, value_name = "bytes", value_parser = bytes)]
    pub(crate) memory: Option<i64>,
    /// Memory to shrink to when the host is short
    #[arg(long, value_name = "bytes", value_parser = bytes)]
    pub(crate) memory_reservation: Option<i64>,
    /// Most memory and swap together; -1 for any amount of swap
    #[arg(long, value_name = "bytes", value_parser = bytes_or_unlimited, allow_negative_numbers = true)]
    pub(crate) memory_swap: Option<i64>,
    /// How readily memory is swapped out, 0 to 100
    #[arg(long, value_name = "int", allow_negative_numbers = true)]
    pub(crate) memory_swappiness: Option<i64>,
    /// Mount, as type=...,source=...,target=...
    #[arg(long, value_name = "mount")]
    pub(crate) mount: Vec<String>,
    /// Name of the container
    #[arg(long, value_name = "string")]
    pub(crate) name: Option<String>,
    /// Network to join: a name, or name=...,alias=...,ip=...
    #[arg(long, visible_alias = "net", value_name = "network")]
    pub(crate) network: Vec<String>,
    /// Further name in the first network
    #[arg(long, alias = "net-alias", value_name = "list")]
    pub(crate) network_alias: Vec<String>,
    /// Do not check health, whatever the image says
    #[arg(long)]
    pub(crate) no_healthcheck: bool,
    /// Do not kill processes when memory is short
    #[arg(long)]
    pub(crate) oom_kill_disable: bool,
    /// How likely the host kills it when memory is short, -1000 to 1000
    #[arg(
        long,
        value_name = "int",
        default_value_t = 0,
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    pub(crate) oom_score_adj: i64,
    /// PID namespace: host or container:NAME
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) pid: String,
    /// Most processes; -1 for any number
    #[arg(long, value_name = "int", allow_negative_numbers = true)]
    pub(crate) pids_limit: Option<i64>,
    /// Platform, such as linux/arm64
    #[arg(long, value_name = "string")]
    pub(crate) platform: Option<String>,
    /// Run with every privilege and device
    #[arg(long)]
    pub(crate) privileged: bool,
    /// Port to publish, as [[ip:]host:]container[/protocol]
    #[arg(short = 'p', long, value_name = "list")]
    pub(crate) publish: Vec<String>,
    /// Publish every exposed port somewhere
    #[arg(short = 'P', long)]
    pub(crate) publish_all: bool,
    /// When to pull the image: always, missing or never
    #[arg(long, value_name = "string", default_value = "missing")]
    pub(crate) pull: String,
    /// Do not show the pull
    #[arg(short = 'q', long)]
    pub(crate) quiet: bool,
    /// Make the root file system read-only
    #[arg(long)]
    pub(crate) read_only: bool,
    /// What to do at the end: no, always, unless-stopped, on-failure[:max]
    #[arg(long, value_name = "string", default_value = "no")]
    pub(crate) restart: String,
    /// Remove the container and its nameless volumes at its end
    #[arg(long)]
    pub(crate) rm: bool,
    /// OCI runtime
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) runtime: String,
    /// Security setting, such as no-new-privileges or seccomp=FILE
    #[arg(long, value_name = "list")]
    pub(crate) security_opt: Vec<String>,
    /// Size of /dev/shm, such as 64m
    #[arg(long, value_name = "bytes", value_parser = bytes)]
    pub(crate) shm_size: Option<i64>,
    /// Signal that asks it to stop
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) stop_signal: String,
    /// Seconds from asking to killing
    #[arg(long, value_name = "int", allow_negative_numbers = true)]
    pub(crate) stop_timeout: Option<i64>,
    /// Option of the storage driver, as key=value
    #[arg(long, value_name = "list")]
    pub(crate) storage_opt: Vec<String>,
    /// Kernel setting of its namespaces, as name=value
    #[arg(long, value_name = "map")]
    pub(crate) sysctl: Vec<String>,
    /// Memory file system, as path[:options]
    #[arg(long, value_name = "list")]
    pub(crate) tmpfs: Vec<String>,
    /// Give the command a terminal
    #[arg(short = 't', long)]
    pub(crate) tty: bool,
    /// Limit of a process, as name=soft[:hard]
    #[arg(long, value_name = "ulimit")]
    pub(crate) ulimit: Vec<String>,
    /// Give it the engine's socket and your credentials for registries
    #[arg(long)]
    pub(crate) use_api_socket: bool,
    /// Who runs it: name or uid, and :group or :gid
    #[arg(short = 'u', long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) user: String,
    /// User namespace: host, or as the engine is set
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) userns: String,
    /// UTS namespace: host
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) uts: String,
    /// Volume or directory to mount, as [source:]path[:options]
    #[arg(short = 'v', long, value_name = "list")]
    pub(crate) volume: Vec<String>,
    /// Driver of nameless volumes
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) volume_driver: String,
    /// Container whose volumes to mount too
    #[arg(long, value_name = "list")]
    pub(crate) volumes_from: Vec<String>,
    /// Directory to run in
    #[arg(short = 'w', long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) workdir: String,

    #[arg(value_name = "IMAGE", required = true, hide = true)]
    pub(crate) image: String,
    #[arg(value_name = "COMMAND", num_args(0..), trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub(crate) command: Vec<String>,
}
