//! The instruction that was meant, when a word is none.

use strsim::levenshtein;

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
    let near = INSTRUCTIONS.into_iter().map(|known| (levenshtein(word, known), known));
    match near.filter(|(distance, _)| *distance <= MOST).min() {
        Some((_, known)) => format!(" (did you mean {known}?)"),
        None => String::new(),
    }
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
        assert_eq!((levenshtein("", "RUN"), levenshtein("RUN", "")), (3, 3));
    }
}
