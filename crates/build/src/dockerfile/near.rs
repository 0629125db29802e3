//! The instruction that was meant, when a word is none.

const INSTRUCTIONS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];
/// Letters that may differ.
const MOST: usize = 2;

/// ` (did you mean RUN?)`, or nothing.
pub(super) fn hint(word: &str) -> String {
    let near = INSTRUCTIONS.into_iter().map(|known| (distance(word, known), known));
    match near.filter(|(distance, _)| *distance <= MOST).min() {
        Some((_, known)) => format!(" (did you mean {known}?)"),
        None => String::new(),
    }
}

/// Letters to be changed, added or left out.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, known) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *known);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words() {
        for (word, meant) in
            [("RUM", "RUN"), ("CPY", "COPY"), ("ENTRYPOIN", "ENTRYPOINT"), ("LABLE", "LABEL")]
        {
            assert_eq!(hint(word), format!(" (did you mean {meant}?)"));
        }
        assert_eq!(hint("NONSENSE"), "");
        assert_eq!((distance("", "RUN"), distance("RUN", "")), (3, 3));
    }
}
