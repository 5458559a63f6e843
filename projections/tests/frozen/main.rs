//! Frozen samples: the stored form of every event type and schema ever written, encrypted parts included, as
//! files in `samples`. A log outlives the releases that wrote it; every release must read them all.
//!
//! A file is never changed. When an event, or a schema, is added: say in [`expected`] how it reads, then
//! `cargo test -p projections --test frozen -- --ignored` writes its file. When an old one reads otherwise
//! than it did, what is expected of it changes there, and its file stays. [`sample`] is a file,
//! [`single_event_backend`] the database that holds what one file says.
#![cfg(test)]

mod expected;
mod sample;
mod single_event_backend;

use std::collections::BTreeSet;

use domain::current_event_type;
use store::canonical::canonical_event;
use store::merkle::leaf_hash;
use store::{PersonalData, StoredEvent};

use crate::expected::{DomainEvent, ExpectedEvent, all};
use crate::sample::Sample;
use crate::single_event_backend::KeyState;

/// The sample and the event as it is read from the log.
async fn read(expected: &ExpectedEvent, key_state: KeyState) -> (Sample, StoredEvent) {
    let sample = Sample::read(expected.name);
    let event = single_event_backend::read(&sample, key_state).await;
    assert_eq!(event.envelope, sample.envelope, "{}", expected.name);
    (sample, event)
}

#[tokio::test]
async fn every_frozen_event_decodes_to_the_expected_value() {
    for expected in all() {
        let (sample, event) = read(&expected, KeyState::Present).await;
        let decoded = DomainEvent::decode(&event).unwrap();
        assert_eq!(decoded, expected.known, "{}", expected.name);
        let (written, envelope) = (decoded.encode(), &sample.envelope);
        assert_eq!(written.event_type, current_event_type(&envelope.event_type), "{}", expected.name);
        if (written.event_type, written.schema) == (envelope.event_type.as_str(), envelope.schema) {
            // What is written today is what was frozen.
            assert_eq!(written.data, envelope.data, "{}", expected.name);
            assert!(event.personal == PersonalData::Known(written.personal), "{}", expected.name);
        }
    }
}

#[tokio::test]
async fn every_frozen_event_decodes_after_erasure() {
    for expected in all() {
        let (sample, event) = read(&expected, KeyState::Erased).await;
        assert_eq!(event.personal == PersonalData::Erased, sample.stream_key.is_some(), "{}", expected.name);
        assert_eq!(DomainEvent::decode(&event).unwrap(), expected.erased, "{}", expected.name);
    }
}

#[test]
fn leaf_of_every_frozen_event_is_the_hash_of_its_canonical_form() {
    for ExpectedEvent { name, .. } in all() {
        let Sample { envelope, .. } = Sample::read(name);
        assert_eq!(leaf_hash(&canonical_event(&envelope).unwrap()), envelope.leaf, "{name}");
    }
}

#[test]
fn every_type_and_schema_has_an_expected_sample() {
    let expected: BTreeSet<_> = all().iter().map(|expected| expected.name.to_owned()).collect();
    assert_eq!(expected.len(), all().len(), "a sample is expected twice");
    assert_eq!(
        sample::names(),
        expected,
        "`cargo test -p projections --test frozen -- --ignored` writes what is missing"
    );
    let mut frozen = BTreeSet::new();
    for name in &expected {
        let Sample { envelope, .. } = Sample::read(name);
        let kind = format!("{}-{}", envelope.event_type, envelope.schema);
        assert!(is_named_for(name, &kind), "`{name}` holds {kind}");
        frozen.insert((envelope.event_type, envelope.schema));
    }
    let known: BTreeSet<_> =
        domain::known_schemas().map(|(event_type, schema)| (event_type.to_owned(), schema)).collect();
    assert_eq!(frozen, known, "the left is frozen, the right is what can be read");
}

#[tokio::test]
#[ignore = "writes files: run it after an event or a schema was added"]
async fn write_missing_samples() {
    let present = sample::names();
    for ExpectedEvent { name, known, .. } in
        all().into_iter().filter(|expected| !present.contains(expected.name))
    {
        let event = known.encode();
        let kind = format!("{}-{}", event.event_type, event.schema);
        assert!(
            is_named_for(name, &kind),
            "`{name}` is not of {kind}, which is all that can be written today"
        );
        single_event_backend::write(known.stream(), event).await.write(name);
    }
}

/// Whether a sample of that name is of that type and schema: what follows may say in words what sets it
/// apart.
fn is_named_for(name: &str, kind: &str) -> bool {
    name.strip_prefix(kind).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}
