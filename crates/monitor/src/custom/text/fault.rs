//! Why a document of metrics is not taken.

use nautilus_proof::MAX_SERIES_NAME;

use super::{MAX_DOCUMENT, MAX_LABELS};
use crate::printable::printable;
use crate::reading::MAX_LABEL;

/// Longest part of a document that an error quotes, in bytes.
const MAX_QUOTE: usize = 80;

/// A document that is not taken. Nothing of it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct TextError {
    /// Where, from 1.
    pub line: usize,
    /// What is wrong.
    pub fault: TextFault,
}

/// What is wrong with a document. What it quotes is bounded and printable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextFault {
    /// Larger than any is taken.
    #[error("the document is larger than {MAX_DOCUMENT} bytes")]
    TooLarge,
    /// Bytes that are no text.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// A character that belongs into no line, such as a carriage return.
    #[error("a control character")]
    ControlCharacter,
    /// The document was cut off.
    #[error("the last line does not end in a line feed: the document is cut off")]
    Unterminated,
    /// OpenMetrics has no empty lines.
    #[error("an empty line, which OpenMetrics does not have")]
    EmptyLine,
    /// OpenMetrics has no comments.
    #[error("a comment that is not HELP, TYPE, UNIT or EOF, which OpenMetrics does not have")]
    Comment,
    /// The document was cut off.
    #[error("`# EOF` is missing at the end: the document is cut off")]
    NoEof,
    /// Something follows the document's end.
    #[error("something follows `# EOF`")]
    AfterEof,
    /// A line of metadata that has no name or no text.
    #[error("metadata without a name, or without what it says of it")]
    Metadata,
    /// Metadata that was given already.
    #[error("{what} of `{name}` is there twice")]
    MetadataTwice {
        /// `HELP`, `TYPE` or `UNIT`.
        what: &'static str,
        /// Whose.
        name: String,
    },
    /// Metadata that comes too late.
    #[error("metadata of `{name}` comes after its samples")]
    MetadataLate {
        /// Whose.
        name: String,
    },
    /// A type that the format does not have.
    #[error("`{text}` is no type of a metric")]
    Type {
        /// What stands there.
        text: String,
    },
    /// A name that does not end in its unit.
    #[error("`{name}` does not end in its unit `{unit}`")]
    Unit {
        /// The metric.
        name: String,
        /// The unit.
        unit: String,
    },
    /// A name that is none.
    #[error("`{text}` is no name of a metric")]
    Name {
        /// What stands there.
        text: String,
    },
    /// A name that would pass for one of the agent's own.
    #[error("`{name}`: names that begin with `nautilus_` are the agent's own")]
    ReservedName {
        /// The name.
        name: String,
    },
    /// A metric that is there in two places, or whose samples are not together.
    #[error("`{name}` is there twice, or its samples are not together")]
    FamilyTwice {
        /// The name.
        name: String,
    },
    /// A sample that its metric's type does not have.
    #[error("`{name}` lacks the suffix that its type asks for, such as `_total` of a counter")]
    Suffix {
        /// The sample's name.
        name: String,
    },
    /// Labels that do not have the form `{name="value",…}`.
    #[error("labels are not as `{{name=\"value\"}}`")]
    Labels,
    /// A label's name that is none, or one that Prometheus keeps for itself.
    #[error("`{text}` is no name of a label")]
    LabelName {
        /// What stands there.
        text: String,
    },
    /// A label that is not the document's to give.
    #[error("label `job` is given by the first line of what is pushed")]
    ReservedLabel,
    /// A label twice.
    #[error("label `{name}` is there twice")]
    LabelTwice {
        /// Its name.
        name: String,
    },
    /// A label's value that is too long.
    #[error("the value of label `{name}` is longer than {MAX_LABEL} bytes")]
    LabelLong {
        /// Its name.
        name: String,
    },
    /// Too many labels.
    #[error("a sample has more than {MAX_LABELS} labels")]
    TooManyLabels,
    /// A backslash before something that is not escaped.
    #[error("a backslash that escapes nothing")]
    Escape,
    /// A value that is no decimal number.
    #[error("`{text}` is no value")]
    Value {
        /// What stands there.
        text: String,
    },
    /// A counter below zero.
    #[error("counter `{name}` is below zero")]
    NegativeCounter {
        /// The sample's name.
        name: String,
    },
    /// A sample with a time of its own.
    #[error("a sample has a timestamp: leave it out, for it is taken as of now")]
    Timestamp,
    /// A sample with something behind it.
    #[error("something follows a sample's value")]
    AfterValue,
    /// A series twice.
    #[error("series `{series}` is there twice")]
    SeriesTwice {
        /// The series.
        series: String,
    },
    /// A series whose name is too long.
    #[error("a series' name with its labels is longer than {MAX_SERIES_NAME} bytes")]
    SeriesLong,
    /// More series than are left.
    #[error("more than {max} series, which is what is left of those that all sources together may have")]
    TooManySeries {
        /// How many are left.
        max: usize,
    },
}

/// What an error quotes.
pub(super) fn quote(text: &str) -> String {
    printable(text, MAX_QUOTE)
}
