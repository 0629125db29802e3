//! Columns padded to a common width.

/// Columns are at least this wide, in characters.
const MIN_WIDTH: usize = 10;
/// Blanks between columns.
const PADDING: usize = 3;

/// Aligns lines whose cells are separated by tabs; the last cell of a line is as long as it is.
pub(crate) fn align(lines: &[String]) -> String {
    align_with(lines, MIN_WIDTH)
}

/// Aligns lines in columns of at least `min_width` characters.
pub(crate) fn align_with(lines: &[String], min_width: usize) -> String {
    let rows: Vec<Vec<&str>> = lines.iter().map(|line| line.split('\t').collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths = vec![0; columns];
    for row in &rows {
        for (column, cell) in row[..row.len() - 1].iter().enumerate() {
            widths[column] = widths[column].max((cell.chars().count() + PADDING).max(min_width));
        }
    }
    let mut out = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if column + 1 < row.len() {
                let used = cell.chars().count();
                out.extend(std::iter::repeat_n(' ', widths[column].saturating_sub(used)));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let lines = ["DRIVER\tVOLUME NAME", "local\tdata", "a-long-driver\tx"].map(str::to_owned);
        assert_eq!(align(&lines), "DRIVER          VOLUME NAME\nlocal           data\na-long-driver   x\n");
        assert_eq!(align(&["A\tB".to_owned()]), "A         B\n");
    }
}
