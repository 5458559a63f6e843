//! What the log says of claims, for who proves that they are held.

use domain::{UserId, WebhookId};
use store::{ClaimChange, StoredEvent};

/// The claims that an event takes and gives back. Users alone have any.
///
/// # Errors
/// Why the event cannot be read.
pub fn claim_change(event: &StoredEvent) -> Result<ClaimChange, String> {
    if WebhookId::from_stream(event.envelope.stream.as_str()).is_some() {
        let fact = event_codec::decode_webhook_event(event).map_err(|error| error.to_string())?;
        return Ok(ClaimChange { erases: fact.erases(), ..ClaimChange::default() });
    }
    if UserId::from_stream(event.envelope.stream.as_str()).is_none() {
        return Ok(ClaimChange::default());
    }
    let fact = event_codec::decode_user_event(event).map_err(|error| error.to_string())?;
    let take = event_codec::claims_taken(&fact).collect();
    Ok(ClaimChange { take, release: Vec::new(), erases: fact.erases() })
}
