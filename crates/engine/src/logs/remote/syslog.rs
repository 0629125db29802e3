//! Syslog: the traditional form, RFC 3164 and RFC 5424.

use super::super::LogEntry;
use super::super::about::About;
use super::line;
use super::tls::Tls;
use super::transport::Address;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use wharf_model::container::LogSpec;
use wharf_model::{Error, Result};

const PORT: u16 = 514;
/// Where the host's own syslog listens.
const LOCAL: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];
/// By number (RFC 5424, section 6.2.1).
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];
const DAEMON: usize = 3;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Traditional,
    Rfc3164,
    Rfc5424 { micro: bool },
}

pub(super) struct Encoder {
    facility: usize,
    form: Form,
    about: About,
    /// Each message comes after its length.
    framed: bool,
}

pub(super) fn parse(log: &LogSpec, about: About) -> Result<(Address, Encoder)> {
    let address = match log.option("syslog-address").filter(|text| !text.is_empty()) {
        None => Address::UnixDatagram(LOCAL.map(Into::into).to_vec()),
        Some(text) => match text.strip_prefix("tcp+tls://") {
            None => Address::parse("syslog-address", text, PORT)?,
            Some(rest) => match Address::parse("syslog-address", &format!("tcp://{rest}"), PORT)? {
                Address::Tcp(host) => Address::Tls(host, Tls::of(log)),
                other => other,
            },
        },
    };
    let facility = match log.option("syslog-facility").filter(|text| !text.is_empty()) {
        None => DAEMON,
        Some(text) => FACILITIES
            .iter()
            .position(|name| *name == text)
            .or_else(|| text.parse().ok().filter(|number| *number < FACILITIES.len()))
            .ok_or_else(|| Error::invalid("invalid syslog facility"))?,
    };
    let form = match log.option("syslog-format").unwrap_or_default() {
        "" => Form::Traditional,
        "rfc3164" => Form::Rfc3164,
        "rfc5424" => Form::Rfc5424 { micro: false },
        "rfc5424micro" => Form::Rfc5424 { micro: true },
        other => {
            return Err(Error::invalid(format!(
                "Invalid syslog format {other:?}: rfc3164, rfc5424 and rfc5424micro are known"
            )));
        }
    };
    // RFC 5425, section 4.3; Docker frames nothing else.
    let framed = matches!(form, Form::Rfc5424 { .. }) && matches!(address, Address::Tls(..));
    Ok((address, Encoder { facility, form, about, framed }))
}

impl Encoder {
    pub(super) fn encode(&self, entry: &LogEntry) -> Vec<u8> {
        // Severities: error and informational.
        let priority = self.facility * 8 + if entry.stderr { 3 } else { 6 };
        let About { tag, host, .. } = &self.about;
        let process = std::process::id();
        let (text, time) = (line(entry), OffsetDateTime::parse(&entry.time, &Rfc3339).ok());
        let message = match self.form {
            Form::Traditional => format!("<{priority}>{} {tag}[{process}]: {text}\n", stamp(time)),
            Form::Rfc3164 => format!("<{priority}>{} {host} {tag}[{process}]: {text}\n", stamp(time)),
            Form::Rfc5424 { micro } => {
                let digits = if micro { 6 } else { 0 };
                let time = precise(time, digits);
                format!("<{priority}>1 {time} {host} {tag} {process} {tag} - {text}\n")
            }
        };
        if self.framed { format!("{} {message}", message.len()) } else { message }.into_bytes()
    }
}

/// `Jan  2 15:04:05`
fn stamp(time: Option<OffsetDateTime>) -> String {
    let time = time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let month = MONTHS[usize::from(u8::from(time.month())) - 1];
    format!("{month} {:>2} {:02}:{:02}:{:02}", time.day(), time.hour(), time.minute(), time.second())
}

/// RFC 3339, UTC, with so many digits of the fraction.
fn precise(time: Option<OffsetDateTime>, digits: usize) -> String {
    let time = time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let fraction = match digits {
        0 => String::new(),
        digits => format!(".{}", &format!("{:09}", time.nanosecond())[..digits]),
    };
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn encode(options: &[(&str, &str)], stderr: bool) -> String {
        let options: BTreeMap<_, _> = options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let about = About { tag: "web".into(), host: "node".into(), ..About::default() };
        let (_, encoder) = parse(&LogSpec::parse("syslog", options).unwrap(), about).unwrap();
        let time = "2024-03-05T06:07:08.123456789Z".to_owned();
        let entry = LogEntry { stderr, time, text: "hello\r\n".into(), ..LogEntry::default() };
        let pid = std::process::id().to_string();
        String::from_utf8(encoder.encode(&entry)).unwrap().replace(&pid, "PID")
    }

    #[test]
    fn forms() {
        assert_eq!(encode(&[], false), "<30>Mar  5 06:07:08 web[PID]: hello\n");
        assert_eq!(
            encode(&[("syslog-format", "rfc3164"), ("syslog-facility", "local0")], true),
            "<131>Mar  5 06:07:08 node web[PID]: hello\n"
        );
        assert_eq!(
            encode(&[("syslog-format", "rfc5424")], false),
            "<30>1 2024-03-05T06:07:08Z node web PID web - hello\n"
        );
        let tls = [("syslog-format", "rfc5424"), ("syslog-address", "tcp+tls://h")];
        let framed = encode(&tls, false);
        assert!(framed.ends_with(" <30>1 2024-03-05T06:07:08Z node web PID web - hello\n"), "{framed}");
        assert!(encode(&[("syslog-format", "rfc5424micro")], false).contains("06:07:08.123456Z"));
    }

    #[test]
    fn options_are_checked() {
        let check = |key: &str, value: &str| {
            let options = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            parse(&LogSpec::parse("syslog", options).unwrap(), About::default()).err()
        };
        for (key, value) in [
            ("syslog-format", "odd"),
            ("syslog-facility", "nine"),
            ("syslog-facility", "24"),
            ("syslog-address", "h"),
        ] {
            assert!(check(key, value).is_some(), "{key}={value}");
        }
        assert!(check("syslog-facility", "16").is_none());
    }
}
