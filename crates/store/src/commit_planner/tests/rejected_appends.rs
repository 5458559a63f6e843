//! A rejected append changes nothing: neither what is written nor the results of the others.

use super::*;

/// Asserts that a batch has the same effect with and without a rejected append in the middle. Returns the
/// rejection.
fn rejected_without_effect(middle: PreparedAppend) -> AppendError {
    let before = || append([change("ada", 1).releasing("ada")]).under("first");
    let after = || append([first("dan").taking("new"), change("ada", 2)]).under("last");
    let mut with = plan_batch(log(), [before(), middle, after()]);
    let without = plan_batch(log(), [before(), after()]);
    let rejection = with.results.remove(1).unwrap_err();
    for plan in [&with, &without] {
        assert!(matches!(results(plan)[..], [Ok((4, [2])), Ok((6, [1, 3]))]), "{:?}", plan.results);
        assert_eq!(written(plan), [(4, "ada", 2), (5, "dan", 1), (6, "ada", 3)]);
    }
    assert_eq!(with.released, without.released);
    assert_eq!(with.erased, without.erased);
    assert_eq!(with.new_keys, without.new_keys);
    assert_eq!(with.taken, without.taken);
    assert_eq!(with.events, without.events);
    assert_eq!(with.recorded_results, without.recorded_results);
    assert_eq!(with.head, without.head);
    assert_eq!(owned(&with, &["ada", "bob", "new"]), [("bob", "bob".to_owned()), ("new", "dan".to_owned())]);
    rejection
}

/// Writes of every kind: a new data key, claims, events and an erasure.
fn all_kinds() -> Vec<PreparedWrite> {
    vec![first("cy").taking("new").taking("ada"), erasure("bob", 1)]
}

#[test]
fn conflict_in_last_write_rejects_the_whole_append() {
    let writes = [all_kinds(), vec![change("ada", 1)]].concat();
    let rejection = rejected_without_effect(append(writes).under("middle"));
    assert!(matches!(rejection, AppendError::Conflict { actual: 2, .. }), "{rejection:?}");
}

#[test]
fn taken_claim_in_last_write_rejects_the_whole_append() {
    // Here `bob` keeps the claim.
    let writes = [first("cy").taking("new").taking("ada"), first("eve").taking("bob")];
    let rejection = rejected_without_effect(append(writes).under("middle"));
    assert!(matches!(rejection, AppendError::ClaimTaken { kind: "email" }), "{rejection:?}");
}

#[test]
fn claim_taken_twice_by_one_append_rejects_it() {
    let writes = [all_kinds(), vec![first("eve").taking("new")]].concat();
    let rejection = rejected_without_effect(append(writes).under("middle"));
    assert!(matches!(rejection, AppendError::ClaimTaken { kind: "email" }), "{rejection:?}");
}

#[test]
fn duplicate_append_changes_nothing() {
    let rejection = rejected_without_effect(append(all_kinds()).under("first"));
    assert!(matches!(rejection, AppendError::DuplicateRequest), "{rejection:?}");
}

#[test]
fn write_to_just_erased_stream_rejects_the_whole_append() {
    let writes = [change("ada", 1).taking("new"), first("cy").taking("bob"), change("bob", 2)];
    let plan = plan_batch(log(), [append([erasure("bob", 1)]), append(writes), append([change("ada", 1)])]);
    match &results(&plan)[..] {
        [Ok((4, [2])), Err(AppendError::Erased { stream: there }), Ok((5, [2]))] => {
            assert_eq!(*there, stream("bob"));
        }
        wrong => panic!("{wrong:?}"),
    }
    assert_eq!((plan.new_keys.len(), plan.taken.len(), plan.erased), (0, 0, vec![stream("bob")]));
}

#[test]
fn rejected_append_does_not_consume_its_idempotency_key() {
    let plan =
        plan_batch(log(), [append([change("ada", 7)]).under("key"), append([change("ada", 1)]).under("key")]);
    assert!(
        matches!(results(&plan)[..], [Err(AppendError::Conflict { .. }), Ok((4, [2]))]),
        "{:?}",
        plan.results
    );
    assert_eq!(plan.recorded_results.len(), 1);
}

#[test]
fn fully_rejected_batch_leaves_the_head_unchanged() {
    let plan =
        plan_batch(log(), [append([change("ada", 7)]).under("key"), append([first("cy").taking("bob")])]);
    assert!(plan.results.iter().all(Result::is_err), "{:?}", plan.results);
    assert_eq!(plan.head, log().head);
    assert_eq!((plan.events.len(), plan.new_keys.len(), plan.recorded_results.len()), (0, 0, 0));
}

#[test]
fn new_data_key_must_be_wrapped_by_the_current_master_key() {
    let env = crate::env::Env::system();
    let [old, new] = [(); 2].map(|()| MasterKey::generate(&env));
    let wrapped = |name: &str, master: &MasterKey| {
        let key = KeyUse::New(master.wrap(name, &[7; 32], &env).unwrap());
        append([PreparedWrite { key, ..change(name, 0) }])
    };
    let rotating = Preconditions { wrapping_key: Some(new.id()), ..log() };
    let plan = plan_batch(rotating, [wrapped("cy", &old), wrapped("dan", &new), append([change("ada", 1)])]);
    let result = &plan.results[0];
    assert!(
        matches!(result, Err(AppendError::WrappingKeyRotated { master }) if *master == new.id()),
        "{result:?}"
    );
    assert_eq!(written(&plan), [(4, "dan", 1), (5, "ada", 2)]);
    assert_eq!(plan.new_keys.len(), 1);
}

#[test]
fn guards_are_checked_against_the_state_after_the_append() {
    let unclaimed = |name| PreparedGuard::Unclaimed("email", claim(name));
    let not_erased = |name| PreparedGuard::NotErased(stream(name));
    // The append itself frees the claim of `bob`.
    let erasing =
        append([erasure("bob", 1)]).guarded([unclaimed("bob"), unclaimed("new"), not_erased("ada")]);
    let plan = plan_batch(
        log(),
        [
            append([change("ada", 1)]).guarded([unclaimed("bob")]),
            append([first("cy").taking("new")]).guarded([unclaimed("new")]),
            append([erasure("bob", 1)]).guarded([not_erased("bob")]),
            erasing,
            append([first("eve")]).guarded([not_erased("bob")]),
            append([first("fay").taking("bob")]).guarded([not_erased("ada"), not_erased("gus")]),
        ],
    );
    match &results(&plan)[..] {
        [
            Err(AppendError::ClaimTaken { kind: "email" }),
            Err(AppendError::ClaimTaken { kind: "email" }),
            Err(AppendError::Erased { stream: itself }),
            Ok((4, [2])),
            Err(AppendError::Erased { stream: earlier }),
            Ok((5, [1])),
        ] => assert_eq!((itself, earlier), (&stream("bob"), &stream("bob"))),
        wrong => panic!("{wrong:?}"),
    }
}

#[test]
fn guarded_streams_and_claims_are_read_for_the_plan() {
    let guards = [PreparedGuard::NotErased(stream("bob")), PreparedGuard::Unclaimed("email", claim("new"))];
    let signer = Signer::new(Uuid::nil(), &[7; 32]).unwrap();
    let batch = Batch::new(vec![append([change("ada", 1)]).guarded(guards)], now(), Arc::new(signer));
    assert_eq!((batch.streams(), batch.claims()), (vec![stream("ada"), stream("bob")], vec![claim("new")]));
}

#[test]
fn guard_on_a_version_is_checked_against_the_state_before_the_append() {
    let at = |name, version| PreparedGuard::AtVersion(stream(name), version);
    let plan = plan_batch(
        log(),
        [
            append([change("ada", 1)]).guarded([at("bob", 2)]),
            append([change("ada", 1)]).guarded([at("bob", 1), at("new", 0)]),
            append([change("bob", 1)]),
            // An earlier append of the same batch has changed the stream.
            append([change("ada", 2)]).guarded([at("bob", 1)]),
            append([change("ada", 2)]).guarded([at("bob", 2)]),
        ],
    );
    match &results(&plan)[..] {
        [
            Err(AppendError::Conflict { stream: guarded, actual: 1, .. }),
            Ok((4, [2])),
            Ok((5, [2])),
            Err(AppendError::Conflict { stream: changed, actual: 2, .. }),
            Ok((6, [3])),
        ] => assert_eq!((guarded, changed), (&stream("bob"), &stream("bob"))),
        wrong => panic!("{wrong:?}"),
    }
}
