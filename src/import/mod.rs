//! Imports users of another system: records are read from a source one after the other, validated, and imported in
//! batches. What is printed and where refused records go is up to the caller. Conflicts with users who exist already
//! are decided by `command::user_import`.

mod csv_file;
mod error;
mod json_lines;
mod legacy_collection;
mod newlines;
mod origin;
mod pipeline;
mod record;
mod refusal;
mod source;
mod times;

pub use csv_file::CsvFile;
pub use error::ImportError;
pub use json_lines::JsonLines;
pub use legacy_collection::LegacyCollection;
pub use origin::RecordOrigin;
pub use pipeline::{ImportListener, ImportMode, ImportSummary, import};
pub use refusal::{Notice, NoticeReason};
pub use source::{RecordSource, SourceRecord, count_lines};

#[cfg(test)]
mod tests;
