//! `--chmod`: octal digits, or changes as chmod(1) writes them (`u=rwX,go=rX`, `+x`).

/// What becomes of a file's permission bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    /// These.
    Bits(u32),
    /// Those it has, changed one after another.
    Changes(Vec<Change>),
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// Which of the bits may change.
    who: u32,
    /// `=`, `+` or `-`.
    operator: char,
    /// Bits for everybody.
    bits: u32,
    /// `X`: executable where somebody may execute it already, or a directory.
    executable: bool,
}

/// Reads the option's value.
pub(super) fn parse(text: &str) -> Result<Mode, String> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let bits = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
        return bits.map(Mode::Bits).ok_or_else(|| {
            format!("invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777")
        });
    }
    let clauses: Option<Vec<Vec<Change>>> = text.split(',').map(clause).collect();
    let changes = clauses.map(|clauses| clauses.concat()).filter(|changes| !changes.is_empty());
    changes.map(Mode::Changes).ok_or_else(|| {
        format!(
            "invalid chmod parameter: '{text}'. it should be octal digits, or changes such as u=rwX,go=rX"
        )
    })
}

/// `ugo=rwx-x`: who, and then one or more changes.
fn clause(text: &str) -> Option<Vec<Change>> {
    let end = text.find(['=', '+', '-'])?;
    let mut who = 0;
    for c in text[..end].chars() {
        who |= match c {
            'u' => 0o4700,
            'g' => 0o2070,
            'o' => 0o1007,
            'a' => 0o7777,
            _ => return None,
        };
    }
    let who = if end == 0 { 0o7777 } else { who };
    let mut changes: Vec<Change> = Vec::new();
    for c in text[end..].chars() {
        if matches!(c, '=' | '+' | '-') {
            changes.push(Change { who, operator: c, bits: 0, executable: false });
            continue;
        }
        let change = changes.last_mut()?;
        change.bits |= match c {
            'r' => 0o444,
            'w' => 0o222,
            'x' => 0o111,
            's' => 0o6000,
            't' => 0o1000,
            'X' => {
                change.executable = true;
                0
            }
            _ => return None,
        };
    }
    Some(changes)
}

impl Mode {
    /// The bits of a file that had `before`.
    pub(super) fn of(&self, before: u32, is_directory: bool) -> u32 {
        let changes = match self {
            Self::Bits(bits) => return *bits,
            Self::Changes(changes) => changes,
        };
        changes.iter().fold(before & 0o7777, |mode, change| {
            let all = change.executable && (is_directory || mode & 0o111 != 0);
            let bits = (change.bits | if all { 0o111 } else { 0 }) & change.who;
            match change.operator {
                '+' => mode | bits,
                '-' => mode & !bits,
                _ => mode & !change.who | bits,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_bits() {
        for (text, before, is_directory, after) in [
            ("755", 0o600, false, 0o755),
            ("4755", 0o600, false, 0o4755),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u=rwX,go=rX", 0o700, true, 0o755),
            ("go=u", 0, false, u32::MAX),
            ("+x", 0o644, false, 0o755),
            ("a-w", 0o666, false, 0o444),
            ("g+s", 0o755, false, 0o2755),
            ("u=rw-w", 0o777, false, 0o477),
        ] {
            let got = parse(text).map(|mode| mode.of(before, is_directory)).unwrap_or(u32::MAX);
            assert_eq!(got, after, "{text} of {before:o}: {got:o}");
        }
        for bad in ["", "rw", "888", "77777", "u=rwq", "z+x", "u+x,"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
