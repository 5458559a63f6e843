//! Rows of CSV files (RFC 4180).

use std::io;

use csv::{Terminator, WriterBuilder};

/// A row with its line break. Values are as they are: escaping what a spreadsheet takes for a formula is up to the
/// caller.
pub(super) fn csv_row<T: AsRef<[u8]>>(cells: impl IntoIterator<Item = T>) -> io::Result<String> {
    let mut writer =
        WriterBuilder::new().terminator(Terminator::CRLF).buffer_capacity(512).from_writer(Vec::new());
    writer.write_record(cells).map_err(io::Error::from)?;
    let row = writer.into_inner().map_err(csv::IntoInnerError::into_error)?;
    Ok(String::from_utf8_lossy(&row).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted() {
        for (cell, expected) in
            [("a,b", "\"a,b\""), ("say \"hi\"", "\"say \"\"hi\"\"\""), ("a\nb", "\"a\nb\""), ("a", "a")]
        {
            assert_eq!(csv_row([cell, "", ""]).unwrap(), format!("{expected},,\r\n"));
        }
    }
}
