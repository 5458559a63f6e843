//! What an administrator says with a change of somebody's account.

use domain::Reason;
use utoipa::ToSchema;

use crate::config::Settings;
use crate::http::extract::{FieldReader, FromFields};

/// Why it is done.
#[derive(ToSchema)]
#[schema(as = Reason)]
pub(crate) struct ReasonBody {
    /// Kept with the event, as personal data of the user.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 500, examples("asked for it by mail"))]
    pub(super) reason: Option<Reason>,
}

impl FromFields for ReasonBody {
    fn from_fields(fields: &mut FieldReader, _: &Settings) -> Option<Self> {
        Some(Self { reason: fields.reason("reason") })
    }
}
