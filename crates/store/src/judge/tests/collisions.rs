//! Two appends that want the same: a claim, a version, an idempotency key.

use super::*;

#[test]
fn of_two_appends_that_want_the_same_claim_the_first_gets_it() {
    let plan = judge(log(), [append([first("cy").taking("new")]), append([first("dan").taking("new")])]);
    assert!(
        matches!(told(&plan)[..], [Ok((4, [1])), Err(AppendError::ClaimTaken { kind: "email" })]),
        "{:?}",
        plan.verdicts
    );
    assert_eq!(plan.keyed, [(stream("cy"), key_of("cy"), vec![claim("new")])]);
    assert_eq!(places(&plan), [(4, "cy", 1)]);
    assert_eq!(owned(&plan, &["new"]), [("new", "cy".to_owned())]);

    // The same for streams that had their key before.
    let plan =
        judge(log(), [append([change("ada", 1).taking("new")]), append([change("bob", 1).taking("new")])]);
    assert!(
        matches!(told(&plan)[..], [Ok((4, [2])), Err(AppendError::ClaimTaken { .. })]),
        "{:?}",
        plan.verdicts
    );
    assert_eq!(plan.taken, [(stream("ada"), vec![claim("new")])]);
}

#[test]
fn a_claim_that_is_given_back_is_free_for_a_later_append_and_is_given_back_first() {
    let give = || append([change("ada", 1).releasing("ada")]);
    let plan = judge(log(), [give(), append([change("bob", 1).taking("ada")])]);
    assert!(matches!(told(&plan)[..], [Ok((4, [2])), Ok((5, [2]))]), "{:?}", plan.verdicts);
    assert_eq!(plan.released, [(stream("ada"), vec![claim("ada")])]);
    assert_eq!(plan.taken, [(stream("bob"), vec![claim("ada")])]);
    assert_eq!(owned(&plan, &["ada", "bob"]), [("ada", "bob".to_owned()), ("bob", "bob".to_owned())]);

    let plan = judge(log(), [give(), append([first("cy").taking("ada")])]);
    assert!(matches!(told(&plan)[..], [Ok((4, [2])), Ok((5, [1]))]), "{:?}", plan.verdicts);
    assert_eq!(plan.released, [(stream("ada"), vec![claim("ada")])]);
    assert_eq!(plan.keyed, [(stream("cy"), key_of("cy"), vec![claim("ada")])]);
    assert_eq!(owned(&plan, &["ada"]), [("ada", "cy".to_owned())]);

    // Not the other way round: the taker came too early.
    let plan = judge(log(), [append([first("cy").taking("ada")]), give()]);
    assert!(
        matches!(told(&plan)[..], [Err(AppendError::ClaimTaken { .. }), Ok((4, [2]))]),
        "{:?}",
        plan.verdicts
    );
    assert_eq!(owned(&plan, &["ada"]), []);
}

#[test]
fn a_claim_that_comes_back_within_the_batch_is_not_written_at_all() {
    let plan = judge(
        log(),
        [
            append([change("ada", 1).releasing("ada")]),
            append([change("bob", 1).taking("ada")]),
            append([change("bob", 2).releasing("ada"), change("ada", 2).taking("ada")]),
        ],
    );
    assert!(matches!(told(&plan)[..], [Ok((4, [2])), Ok((5, [2])), Ok((7, [3, 3]))]), "{:?}", plan.verdicts);
    assert_eq!((plan.released.len(), plan.taken.len()), (0, 0));
    assert_eq!(owned(&plan, &["ada"]), [("ada", "ada".to_owned())]);
}

#[test]
fn of_two_appends_that_expect_the_same_version_the_second_is_in_conflict() {
    let plan =
        judge(log(), [append([change("ada", 1)]), append([change("ada", 1)]), append([change("ada", 2)])]);
    match &told(&plan)[..] {
        [Ok((4, [2])), Err(AppendError::Conflict { stream: there, expected, actual }), Ok((5, [3]))] => {
            assert_eq!((there, *expected, *actual), (&stream("ada"), Expected::Exactly(1), 2));
        }
        wrong => panic!("{wrong:?}"),
    }
    assert_eq!(places(&plan), [(4, "ada", 2), (5, "ada", 3)]);

    // Each would be the first event, sealed under a key of its own: only one of the keys may be kept.
    let other = PreparedWrite { key: KeyUse::New(b"another key".to_vec()), ..first("cy") };
    let plan = judge(log(), [append([first("cy")]), append([other])]);
    assert!(
        matches!(told(&plan)[..], [Ok((4, [1])), Err(AppendError::Conflict { actual: 1, .. })]),
        "{:?}",
        plan.verdicts
    );
    assert_eq!(plan.keyed, [(stream("cy"), key_of("cy"), Vec::new())]);
}

#[test]
fn the_second_append_under_an_idempotency_key_is_told_that_it_repeats_the_first() {
    let once = || append([change("ada", 1), change("bob", 1)]).under("key");
    let plan = judge(log(), [once(), append([first("cy")]).under("other"), once()]);
    // It expects what the first has changed, and still is no conflict.
    assert!(
        matches!(told(&plan)[..], [Ok((5, [2, 2])), Ok((6, [1])), Err(AppendError::Repeated)]),
        "{:?}",
        plan.verdicts
    );
    let result = |key: &str, name: &str, version, position| {
        let request = idempotency(key).request;
        let position = Position::new(position);
        (idempotency(key).hash(), FirstResult { request, stream: stream(name), version, position, at: now() })
    };
    assert_eq!(plan.first_results, [result("key", "ada", 2, 5), result("other", "cy", 1, 6)]);
    assert_eq!(places(&plan), [(4, "ada", 2), (5, "bob", 2), (6, "cy", 1)]);
}

#[test]
fn a_key_whose_first_result_has_had_its_time_is_as_good_as_new_and_then_used() {
    let kept_since = |at| {
        let mut facts = log();
        let request = idempotency("key").request;
        let result =
            FirstResult { request, stream: stream("ada"), version: 1, position: Position::new(1), at };
        facts.first_results.insert(idempotency("key").hash(), result);
        facts
    };
    let appends = || [append([change("ada", 1)]).under("key"), append([change("bob", 1)]).under("key")];
    let plan = judge(kept_since(now() - KEPT), appends());
    assert!(matches!(told(&plan)[..], [Ok((4, [2])), Err(AppendError::Repeated)]), "{:?}", plan.verdicts);
    assert_eq!(plan.first_results.len(), 1);

    let plan = judge(kept_since(now() - KEPT + jiff::SignedDuration::from_millis(1)), appends());
    assert!(
        matches!(told(&plan)[..], [Err(AppendError::Repeated), Err(AppendError::Repeated)]),
        "{:?}",
        plan.verdicts
    );
    assert_eq!((plan.head, plan.first_results.len()), (log().head, 0));
}

#[test]
fn an_erasure_frees_claims_for_a_later_append() {
    let plan = judge(log(), [append([erasure("ada", 1)]), append([first("cy").taking("ada")])]);
    assert!(matches!(told(&plan)[..], [Ok((4, [2])), Ok((5, [1]))]), "{:?}", plan.verdicts);
    assert_eq!(plan.erased, [stream("ada")]);
    assert_eq!(plan.released, [], "they go with the key");
    assert_eq!(plan.keyed, [(stream("cy"), key_of("cy"), vec![claim("ada")])]);
    assert_eq!(owned(&plan, &["ada", "bob"]), [("ada", "cy".to_owned()), ("bob", "bob".to_owned())]);
}

#[test]
fn a_stream_that_begins_and_is_erased_within_the_batch_leaves_a_tombstone_and_no_key() {
    let plan = judge(
        log(),
        [
            append([first("cy").taking("new")]),
            append([erasure("cy", 1)]),
            append([first("dan").taking("new")]),
        ],
    );
    assert!(matches!(told(&plan)[..], [Ok((4, [1])), Ok((5, [2])), Ok((6, [1]))]), "{:?}", plan.verdicts);
    assert_eq!(plan.erased, [stream("cy")]);
    assert_eq!(plan.keyed, [(stream("dan"), key_of("dan"), vec![claim("new")])]);
    assert_eq!(owned(&plan, &["new"]), [("new", "dan".to_owned())]);
}
