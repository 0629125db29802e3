//! Processes as `ps` shows them, read from procfs (proc_pid_stat(5)): the formats `-f` and `u`, and `-o`.

use std::os::unix::fs::MetadataExt;
use wharf_engine::clock::now_ns;

/// USER_HZ is 100 on every architecture we build for.
const TICKS: u64 = 100;

/// A column: the keyword of `-o` and the title it has by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    keyword: &'static str,
    pub(super) title: String,
}

/// All keywords of `-o`, with their titles.
const KEYWORDS: [(&str, &str); 34] = [
    ("%cpu", "%CPU"),
    ("%mem", "%MEM"),
    ("args", "COMMAND"),
    ("bsdtime", "TIME"),
    ("c", "C"),
    ("cmd", "CMD"),
    ("comm", "COMMAND"),
    ("command", "COMMAND"),
    ("egid", "EGID"),
    ("etime", "ELAPSED"),
    ("etimes", "ELAPSED"),
    ("euid", "EUID"),
    ("gid", "GID"),
    ("ni", "NI"),
    ("nlwp", "NLWP"),
    ("pcpu", "%CPU"),
    ("pgid", "PGID"),
    ("pgrp", "PGRP"),
    ("pid", "PID"),
    ("pmem", "%MEM"),
    ("ppid", "PPID"),
    ("pri", "PRI"),
    ("rss", "RSS"),
    ("s", "S"),
    ("sid", "SID"),
    ("start", "START"),
    ("stat", "STAT"),
    ("stime", "STIME"),
    ("thcount", "THCNT"),
    ("time", "TIME"),
    ("tty", "TTY"),
    ("uid", "UID"),
    ("user", "USER"),
    ("vsz", "VSZ"),
];
const FULL: [&str; 8] = ["user", "pid", "ppid", "c", "stime", "tty", "time", "cmd"];
const USER: [&str; 11] =
    ["user", "pid", "%cpu", "%mem", "vsz", "rss", "tty", "stat", "start", "bsdtime", "command"];
const SHORT: [&str; 4] = ["pid", "tty", "time", "comm"];

fn column(keyword: &str) -> Option<Column> {
    let (keyword, title) = KEYWORDS.iter().find(|(known, _)| *known == keyword)?;
    Some(Column { keyword, title: (*title).to_owned() })
}

fn standard(keywords: &[&str]) -> Vec<Column> {
    keywords.iter().filter_map(|keyword| column(keyword)).collect()
}

/// The columns that arguments of `ps` ask for. Which processes they select does not matter: it is the container's.
pub(super) fn columns(arguments: &str) -> Result<Vec<Column>, String> {
    let unknown = |what: &str| {
        format!("ps arguments {arguments:?}: {what:?} is not known here: use -ef, aux, or -o with keywords")
    };
    let mut words = arguments.split_whitespace();
    let mut chosen = Vec::new();
    let (mut full, mut user) = (false, false);
    while let Some(word) = words.next() {
        if word == "--format" {
            chosen.extend(listed(words.next().unwrap_or_default()).map_err(|w| unknown(&w))?);
            continue;
        }
        let (is_unix, letters) = (word.starts_with('-'), word.trim_start_matches('-'));
        let (flags, list) = letters.split_once('o').map_or((letters, None), |(f, l)| (f, Some(l)));
        for flag in flags.chars() {
            match flag {
                'f' if is_unix => full = true,
                'u' if !is_unix => user = true,
                'a' | 'A' | 'e' | 'x' | 'd' | 'w' | 'f' | 'H' => {}
                other => return Err(unknown(&other.to_string())),
            }
        }
        if let Some(list) = list {
            let list = if list.is_empty() { words.next().unwrap_or_default() } else { list };
            chosen.extend(listed(list).map_err(|w| unknown(&w))?);
        }
    }
    Ok(match chosen.is_empty() {
        false => chosen,
        true if user => standard(&USER),
        true if full || arguments.trim().is_empty() => {
            let mut columns = standard(&FULL);
            "UID".clone_into(&mut columns[0].title);
            columns
        }
        true => {
            let mut columns = standard(&SHORT);
            "CMD".clone_into(&mut columns[3].title);
            columns
        }
    })
}

/// `pid,comm=NAME`.
fn listed(list: &str) -> Result<Vec<Column>, String> {
    let of = |item: &str| {
        let (keyword, title) = item.split_once('=').map_or((item, None), |(k, t)| (k, Some(t)));
        let known = column(match keyword {
            "tname" | "tt" => "tty",
            "vsize" => "vsz",
            "rssize" => "rss",
            "state" => "s",
            "uname" | "euser" => "user",
            "cputime" => "time",
            "nice" => "ni",
            "ucmd" => "comm",
            "sess" | "session" => "sid",
            other => other,
        });
        let mut known = known.ok_or_else(|| keyword.to_owned())?;
        if let Some(title) = title {
            title.clone_into(&mut known.title);
        }
        Ok(known)
    };
    list.split(',').filter(|item| !item.is_empty()).map(of).collect()
}

/// What all rows share.
pub(super) struct Host {
    passwd: String,
    /// Seconds since boot (proc_uptime(5)).
    up: u64,
    /// Bytes of memory.
    memory: u64,
}

impl Host {
    pub(super) fn read() -> Self {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
        Self {
            passwd: std::fs::read_to_string("/etc/passwd").unwrap_or_default(),
            up: uptime.split('.').next().and_then(|s| s.parse().ok()).unwrap_or(0),
            memory: wharf_engine::containers::host_memory().max(1),
        }
    }

    fn user(&self, uid: u32) -> String {
        let name = self.passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
        });
        name.unwrap_or_else(|| uid.to_string())
    }

    fn start(&self, started: u64) -> String {
        let at = (now_ns() / 1_000_000_000) as i64 - self.up as i64 + started as i64;
        time::OffsetDateTime::from_unix_timestamp(at)
            .map(|t| format!("{:02}:{:02}", t.hour(), t.minute()))
            .unwrap_or_default()
    }
}

struct Process {
    pid: i32,
    uid: u32,
    gid: u32,
    comm: String,
    command: String,
    /// The fields of `stat` behind the name; the first is the state.
    fields: Vec<String>,
}

impl Process {
    fn read(pid: i32) -> Option<Self> {
        let directory = format!("/proc/{pid}");
        let owner = std::fs::metadata(&directory).ok()?;
        let stat = std::fs::read_to_string(format!("{directory}/stat")).ok()?;
        let (head, tail) = stat.rsplit_once(')')?;
        let comm = head.split_once('(')?.1.to_owned();
        let command = std::fs::read(format!("{directory}/cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command).trim_end_matches('\0').replace('\0', " ");
        Some(Self {
            pid,
            uid: owner.uid(),
            gid: owner.gid(),
            command: if command.is_empty() { format!("[{comm}]") } else { command },
            comm,
            fields: tail.split_whitespace().map(str::to_owned).collect(),
        })
    }

    /// A field by its number in proc_pid_stat(5), which counts from 1; the state is the third.
    fn field(&self, number: usize) -> i64 {
        self.fields.get(number - 3).and_then(|f| f.parse().ok()).unwrap_or(0)
    }

    fn cpu_seconds(&self) -> u64 {
        (self.field(14) + self.field(15)).unsigned_abs() / TICKS
    }

    fn state(&self) -> &str {
        self.fields.first().map_or("?", String::as_str)
    }

    fn flags(&self) -> String {
        let nice = self.field(19);
        let marks = [
            (nice < 0, '<'),
            (nice > 0, 'N'),
            (self.field(6) == i64::from(self.pid), 's'),
            (self.field(20) > 1, 'l'),
            (self.field(8) > 0 && self.field(8) == self.field(5), '+'),
        ];
        self.state().chars().chain(marks.iter().filter(|(on, _)| *on).map(|(_, mark)| *mark)).collect()
    }

    fn show(&self, keyword: &str, host: &Host) -> String {
        let page = rustix::param::page_size() as u64;
        let resident = self.field(24).unsigned_abs() * page;
        let started = self.field(22).unsigned_abs() / TICKS;
        let age = host.up.saturating_sub(started);
        let cpu = self.cpu_seconds();
        let percent = |part: f64, whole: f64| format!("{:.1}", part * 100.0 / whole);
        match keyword {
            "%cpu" | "pcpu" => percent(cpu as f64, age.max(1) as f64),
            "%mem" | "pmem" => percent(resident as f64, host.memory as f64),
            "args" | "cmd" | "command" => self.command.clone(),
            "bsdtime" => format!("{}:{:02}", cpu / 60, cpu % 60),
            "c" => (cpu * 100 / age.max(1)).min(99).to_string(),
            "comm" => self.comm.clone(),
            "egid" | "gid" => self.gid.to_string(),
            "etime" => elapsed(age),
            "etimes" => age.to_string(),
            "euid" | "uid" => self.uid.to_string(),
            "ni" => self.field(19).to_string(),
            "nlwp" | "thcount" => self.field(20).to_string(),
            "pgid" | "pgrp" => self.field(5).to_string(),
            "pid" => self.pid.to_string(),
            "ppid" => self.field(4).to_string(),
            "pri" => (39 - self.field(18)).to_string(),
            "rss" => (resident / 1024).to_string(),
            "s" => self.state().to_owned(),
            "sid" => self.field(6).to_string(),
            "start" | "stime" => host.start(started),
            "stat" => self.flags(),
            "time" => format!("{:02}:{:02}:{:02}", cpu / 3600, cpu / 60 % 60, cpu % 60),
            "tty" => terminal(self.field(7).unsigned_abs()),
            "user" => host.user(self.uid),
            "vsz" => (self.field(23) / 1024).to_string(),
            // `KEYWORDS` has no other.
            _ => String::new(),
        }
    }
}

/// A process's row; `None` when it ended meanwhile.
pub(super) fn row(pid: i32, columns: &[Column], host: &Host) -> Option<Vec<String>> {
    let process = Process::read(pid)?;
    Some(columns.iter().map(|column| process.show(column.keyword, host)).collect())
}

/// `[[days-]hours:]minutes:seconds`
fn elapsed(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    let rest = format!("{minutes:02}:{:02}", seconds % 60);
    match (days, hours) {
        (0, 0) => rest,
        (0, _) => format!("{hours:02}:{rest}"),
        _ => format!("{days}-{hours:02}:{rest}"),
    }
}

fn terminal(number: u64) -> String {
    match (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xfff00) {
        (0, 0) => "?".to_owned(),
        (136..=143, minor) => format!("pts/{minor}"),
        (4, minor) => format!("tty{minor}"),
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(arguments: &str) -> String {
        columns(arguments).unwrap().iter().map(|c| c.title.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn arguments_choose_columns() {
        assert_eq!(titles(""), "UID PID PPID C STIME TTY TIME CMD");
        assert_eq!(titles("-e -f"), titles("-ef"));
        assert_eq!(titles("aux"), "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND");
        assert_eq!(titles("-e"), "PID TTY TIME CMD");
        assert_eq!(titles("-eo pid,comm=NAME"), "PID NAME");
        assert_eq!(titles("-o pid -oargs"), "PID COMMAND");
        assert_eq!(titles("axo pid,state,user"), "PID S USER");
        assert!(columns("-o pid,nonsense").unwrap_err().contains("\"nonsense\""));
        assert!(columns("-p 1").is_err());
    }

    #[test]
    fn every_keyword_shows_something() {
        let all = standard(&KEYWORDS.map(|(keyword, _)| keyword));
        let own = row(std::process::id() as i32, &all, &Host::read()).unwrap();
        assert_eq!(own.len(), KEYWORDS.len());
        assert!(own.iter().all(|value| !value.is_empty()), "{own:?}");
        assert_eq!(
            (elapsed(61), elapsed(3661), elapsed(90061)),
            ("01:01".into(), "01:01:01".into(), "1-01:01:01".into())
        );
    }
}
