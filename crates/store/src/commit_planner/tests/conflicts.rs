//! Two appends that compete for a claim, a version or an idempotency key.

use super::*;

#[test]
fn first_append_wins_a_contended_claim() {
    let plan = plan_batch(log(), [append([first("cy").taking("new")]), append([first("dan").taking("new")])]);
    assert!(
        matches!(results(&plan)[..], [Ok((4, [1])), Err(AppendError::ClaimTaken { kind: "email" })]),
        "{:?}",
        plan.results
    );
    assert_eq!(plan.new_keys, [(stream("cy"), key_of("cy"), vec![claim("new")])]);
    assert_eq!(written(&plan), [(4, "cy", 1)]);
    assert_eq!(owned(&plan, &["new"]), [("new", "cy".to_owned())]);

    // The same for streams that had a data key before.
    let plan = plan_batch(
        log(),
        [append([change("ada", 1).taking("new")]), append([change("bob", 1).taking("new")])],
    );
    assert!(
        matches!(results(&plan)[..], [Ok((4, [2])), Err(AppendError::ClaimTaken { .. })]),
        "{:?}",
        plan.results
    );
    assert_eq!(plan.taken, [(stream("ada"), vec![claim("new")])]);
}

#[test]
fn optional_claim_goes_to_the_first_stream_and_hinders_none() {
    let plan = plan_batch(
        log(),
        [append([
            first("cy").taking_if_free("new").taking_if_free("ada"),
            first("dan").taking_if_free("new").taking("free"),
        ])],
    );
    assert!(matches!(results(&plan)[..], [Ok((5, [1, 1]))]), "{:?}", plan.results);
    let expected = [("new", "cy"), ("ada", "ada"), ("free", "dan")];
    assert_eq!(owned(&plan, &["new", "ada", "free"]), expected.map(|(claim, of)| (claim, of.to_owned())));

    // A later append of the batch that requires the claim is rejected.
    let plan = plan_batch(
        log(),
        [append([first("cy").taking_if_free("new")]), append([first("dan").taking("new")])],
    );
    assert!(
        matches!(results(&plan)[..], [Ok((4, [1])), Err(AppendError::ClaimTaken { kind: "email" })]),
        "{:?}",
        plan.results
    );

    // A write of the same append that requires the claim gets it.
    let plan = plan_batch(log(), [append([first("cy").taking_if_free("new"), first("dan").taking("new")])]);
    assert!(matches!(results(&plan)[..], [Ok((5, [1, 1]))]), "{:?}", plan.results);
    assert_eq!(owned(&plan, &["new"]), [("new", "dan".to_owned())]);

    // Released by the same append, it is free.
    let plan =
        plan_batch(log(), [append([change("ada", 1).releasing("ada"), first("cy").taking_if_free("ada")])]);
    assert_eq!(owned(&plan, &["ada"]), [("ada", "cy".to_owned())]);
}

#[test]
fn released_claim_can_be_taken_later_in_the_batch() {
    let give = || append([change("ada", 1).releasing("ada")]);
    let plan = plan_batch(log(), [give(), append([change("bob", 1).taking("ada")])]);
    assert!(matches!(results(&plan)[..], [Ok((4, [2])), Ok((5, [2]))]), "{:?}", plan.results);
    assert_eq!(plan.released, [(stream("ada"), vec![claim("ada")])]);
    assert_eq!(plan.taken, [(stream("bob"), vec![claim("ada")])]);
    assert_eq!(owned(&plan, &["ada", "bob"]), [("ada", "bob".to_owned()), ("bob", "bob".to_owned())]);

    let plan = plan_batch(log(), [give(), append([first("cy").taking("ada")])]);
    assert!(matches!(results(&plan)[..], [Ok((4, [2])), Ok((5, [1]))]), "{:?}", plan.results);
    assert_eq!(plan.released, [(stream("ada"), vec![claim("ada")])]);
    assert_eq!(plan.new_keys, [(stream("cy"), key_of("cy"), vec![claim("ada")])]);
    assert_eq!(owned(&plan, &["ada"]), [("ada", "cy".to_owned())]);

    // In the opposite order the claim is not free yet.
    let plan = plan_batch(log(), [append([first("cy").taking("ada")]), give()]);
    assert!(
        matches!(results(&plan)[..], [Err(AppendError::ClaimTaken { .. }), Ok((4, [2]))]),
        "{:?}",
        plan.results
    );
    assert_eq!(owned(&plan, &["ada"]), []);
}

#[test]
fn claim_that_returns_to_its_owner_is_not_written() {
    let plan = plan_batch(
        log(),
        [
            append([change("ada", 1).releasing("ada")]),
            append([change("bob", 1).taking("ada")]),
            append([change("bob", 2).releasing("ada"), change("ada", 2).taking("ada")]),
        ],
    );
    assert!(
        matches!(results(&plan)[..], [Ok((4, [2])), Ok((5, [2])), Ok((7, [3, 3]))]),
        "{:?}",
        plan.results
    );
    assert_eq!((plan.released.len(), plan.taken.len()), (0, 0));
    assert_eq!(owned(&plan, &["ada"]), [("ada", "ada".to_owned())]);
}

#[test]
fn second_append_with_same_expected_version_conflicts() {
    let plan = plan_batch(
        log(),
        [append([change("ada", 1)]), append([change("ada", 1)]), append([change("ada", 2)])],
    );
    match &results(&plan)[..] {
        [Ok((4, [2])), Err(AppendError::Conflict { stream: there, expected, actual }), Ok((5, [3]))] => {
            assert_eq!((there, *expected, *actual), (&stream("ada"), ExpectedVersion::Exactly(1), 2));
        }
        wrong => panic!("{wrong:?}"),
    }
    assert_eq!(written(&plan), [(4, "ada", 2), (5, "ada", 3)]);

    // Each would be the first event, encrypted with a new data key: only one of the keys may be stored.
    let other = PreparedWrite { key: KeyUse::New(b"another key".to_vec()), ..first("cy") };
    let plan = plan_batch(log(), [append([first("cy")]), append([other])]);
    assert!(
        matches!(results(&plan)[..], [Ok((4, [1])), Err(AppendError::Conflict { actual: 1, .. })]),
        "{:?}",
        plan.results
    );
    assert_eq!(plan.new_keys, [(stream("cy"), key_of("cy"), Vec::new())]);
}

#[test]
fn second_append_with_same_idempotency_key_is_a_duplicate() {
    let once = || append([change("ada", 1), change("bob", 1)]).under("key");
    let plan = plan_batch(log(), [once(), append([first("cy")]).under("other"), once()]);
    // A duplicate expects an old version and is still not reported as a conflict.
    assert!(
        matches!(results(&plan)[..], [Ok((5, [2, 2])), Ok((6, [1])), Err(AppendError::DuplicateRequest)]),
        "{:?}",
        plan.results
    );
    let result = |key: &str, name: &str, version, position| {
        let (key, position) = (idempotency(key), Position::new(position));
        (key.hash(), RecordedResult::new(&key, stream(name), version, position, now()))
    };
    assert_eq!(plan.recorded_results, [result("key", "ada", 2, 5), result("other", "cy", 1, 6)]);
    assert_eq!(written(&plan), [(4, "ada", 2), (5, "bob", 2), (6, "cy", 1)]);
}

#[test]
fn expired_idempotency_key_can_be_used_again() {
    let recorded_at = |at| {
        let mut preconditions = log();
        let result = RecordedResult::new(&idempotency("key"), stream("ada"), 1, Position::new(1), at);
        preconditions.recorded_results.insert(idempotency("key").hash(), result);
        preconditions
    };
    let appends = || [append([change("ada", 1)]).under("key"), append([change("bob", 1)]).under("key")];
    let plan = plan_batch(recorded_at(now() - RETENTION), appends());
    assert!(
        matches!(results(&plan)[..], [Ok((4, [2])), Err(AppendError::DuplicateRequest)]),
        "{:?}",
        plan.results
    );
    assert_eq!(plan.recorded_results.len(), 1);

    let plan = plan_batch(recorded_at(now() - RETENTION + jiff::SignedDuration::from_millis(1)), appends());
    assert!(
        matches!(
            results(&plan)[..],
            [Err(AppendError::DuplicateRequest), Err(AppendError::DuplicateRequest)]
        ),
        "{:?}",
        plan.results
    );
    assert_eq!((plan.head, plan.recorded_results.len()), (log().head, 0));
}

#[test]
fn erasure_releases_claims_for_a_later_append() {
    let plan = plan_batch(log(), [append([erasure("ada", 1)]), append([first("cy").taking("ada")])]);
    assert!(matches!(results(&plan)[..], [Ok((4, [2])), Ok((5, [1]))]), "{:?}", plan.results);
    assert_eq!(plan.erased, [stream("ada")]);
    assert_eq!(plan.released, [], "they are destroyed with the key");
    assert_eq!(plan.new_keys, [(stream("cy"), key_of("cy"), vec![claim("ada")])]);
    assert_eq!(owned(&plan, &["ada", "bob"]), [("ada", "cy".to_owned()), ("bob", "bob".to_owned())]);
}

#[test]
fn stream_created_and_erased_in_one_batch_leaves_only_a_tombstone() {
    let plan = plan_batch(
        log(),
        [
            append([first("cy").taking("new")]),
            append([erasure("cy", 1)]),
            append([first("dan").taking("new")]),
        ],
    );
    assert!(matches!(results(&plan)[..], [Ok((4, [1])), Ok((5, [2])), Ok((6, [1]))]), "{:?}", plan.results);
    assert_eq!(plan.erased, [stream("cy")]);
    assert_eq!(plan.new_keys, [(stream("dan"), key_of("dan"), vec![claim("new")])]);
    assert_eq!(owned(&plan, &["new"]), [("new", "dan".to_owned())]);
}
