//! The unique claims that an event takes, for the verification of the claim table.

use domain::{UserId, WebhookId};
use store::{ClaimChange, StoredEvent};

/// The claims that an event takes, and whether it releases all of its stream's. Only users have claims.
///
/// # Errors
/// Why the event cannot be decoded.
pub fn claim_change(event: &StoredEvent) -> Result<ClaimChange, String> {
    if WebhookId::from_stream(event.envelope.stream.as_str()).is_some() {
        let event = event_codec::decode_webhook_event(event).map_err(|error| error.to_string())?;
        return Ok(ClaimChange { erases: event.erases(), ..ClaimChange::default() });
    }
    if UserId::from_stream(event.envelope.stream.as_str()).is_none() {
        return Ok(ClaimChange::default());
    }
    let event = event_codec::decode_user_event(event).map_err(|error| error.to_string())?;
    let take = event_codec::claims_taken(&event).collect();
    Ok(ClaimChange { take, release: Vec::new(), erases: event.erases() })
}
