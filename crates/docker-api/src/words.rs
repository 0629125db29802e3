//! What users read of the system's errors.

/// Without the numbers of the system's errors, which stand behind their words.
pub fn without_numbers(message: &str) -> String {
    const BEGIN: &str = " (os error ";
    let mut text = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(at) = rest.find(BEGIN) {
        let after = &rest[at + BEGIN.len()..];
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        if digits > 0 && after[digits..].starts_with(')') {
            text += &rest[..at];
            rest = &after[digits + 1..];
        } else {
            text += &rest[..at + BEGIN.len()];
            rest = after;
        }
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_errors_are_not_shown() {
        assert_eq!(
            without_numbers("open /x: No such file (os error 2): mend"),
            "open /x: No such file: mend"
        );
        assert_eq!(without_numbers("a (os error x) (os error 5"), "a (os error x) (os error 5");
    }
}
