//! A refused append changes nothing: not what is written, and not what the others are told.

use super::*;

/// A batch with a refused append in the middle comes to what it would have come to without it. Gives the refusal.
fn refused_without_a_trace(middle: PreparedAppend) -> AppendError {
    let before = || append([change("ada", 1).releasing("ada")]).under("first");
    let after = || append([first("dan").taking("new"), change("ada", 2)]).under("last");
    let mut with = judge(log(), [before(), middle, after()]);
    let without = judge(log(), [before(), after()]);
    let refusal = with.verdicts.remove(1).unwrap_err();
    for plan in [&with, &without] {
        assert!(matches!(told(plan)[..], [Ok((4, [2])), Ok((6, [1, 3]))]), "{:?}", plan.verdicts);
        assert_eq!(places(plan), [(4, "ada", 2), (5, "dan", 1), (6, "ada", 3)]);
    }
    assert_eq!(with.released, without.released);
    assert_eq!(with.erased, without.erased);
    assert_eq!(with.keyed, without.keyed);
    assert_eq!(with.taken, without.taken);
    assert_eq!(with.events, without.events);
    assert_eq!(with.first_results, without.first_results);
    assert_eq!(with.head, without.head);
    assert_eq!(owned(&with, &["ada", "bob", "new"]), [("bob", "bob".to_owned()), ("new", "dan".to_owned())]);
    refusal
}

/// Writes that would each leave something behind: a key, claims, events, and a stream erased.
fn all_kinds() -> Vec<PreparedWrite> {
    vec![first("cy").taking("new").taking("ada"), erasure("bob", 1)]
}

#[test]
fn a_conflict_in_the_last_write_undoes_all_of_the_append() {
    let writes = [all_kinds(), vec![change("ada", 1)]].concat();
    let refusal = refused_without_a_trace(append(writes).under("middle"));
    assert!(matches!(refusal, AppendError::Conflict { actual: 2, .. }), "{refusal:?}");
}

#[test]
fn a_taken_claim_in_the_last_write_undoes_all_of_the_append() {
    // `bob` keeps his here, so that it is not free.
    let writes = [first("cy").taking("new").taking("ada"), first("eve").taking("bob")];
    let refusal = refused_without_a_trace(append(writes).under("middle"));
    assert!(matches!(refusal, AppendError::ClaimTaken { kind: "email" }), "{refusal:?}");
}

#[test]
fn one_claim_wanted_twice_by_an_append_undoes_all_of_it() {
    let writes = [all_kinds(), vec![first("eve").taking("new")]].concat();
    let refusal = refused_without_a_trace(append(writes).under("middle"));
    assert!(matches!(refusal, AppendError::ClaimTaken { kind: "email" }), "{refusal:?}");
}

#[test]
fn a_repeated_append_leaves_nothing_behind() {
    let refusal = refused_without_a_trace(append(all_kinds()).under("first"));
    assert!(matches!(refusal, AppendError::Repeated), "{refusal:?}");
}

#[test]
fn a_write_to_a_stream_that_was_just_erased_undoes_all_of_the_append() {
    let writes = [change("ada", 1).taking("new"), first("cy").taking("bob"), change("bob", 2)];
    let plan = judge(log(), [append([erasure("bob", 1)]), append(writes), append([change("ada", 1)])]);
    match &told(&plan)[..] {
        [Ok((4, [2])), Err(AppendError::Erased { stream: there }), Ok((5, [2]))] => {
            assert_eq!(*there, stream("bob"));
        }
        wrong => panic!("{wrong:?}"),
    }
    assert_eq!((plan.keyed.len(), plan.taken.len(), plan.erased), (0, 0, vec![stream("bob")]));
}

#[test]
fn a_refused_append_does_not_use_up_its_idempotency_key() {
    let plan =
        judge(log(), [append([change("ada", 7)]).under("key"), append([change("ada", 1)]).under("key")]);
    assert!(
        matches!(told(&plan)[..], [Err(AppendError::Conflict { .. }), Ok((4, [2]))]),
        "{:?}",
        plan.verdicts
    );
    assert_eq!(plan.first_results.len(), 1);
}

#[test]
fn a_batch_of_which_all_is_refused_leaves_the_head_as_it_was() {
    let plan = judge(log(), [append([change("ada", 7)]).under("key"), append([first("cy").taking("bob")])]);
    assert!(plan.verdicts.iter().all(Result::is_err), "{:?}", plan.verdicts);
    assert_eq!(plan.head, log().head);
    assert_eq!((plan.events.len(), plan.keyed.len(), plan.first_results.len()), (0, 0, 0));
}

#[test]
fn a_new_key_is_wrapped_by_the_master_key_in_use_or_refused() {
    let ambient = crate::ambient::Ambient::system();
    let [old, new] = [(); 2].map(|()| MasterKey::generate(&ambient));
    let wrapped = |name: &str, master: &MasterKey| {
        let key = KeyUse::New(master.wrap(name, &[7; 32], &ambient).unwrap());
        append([PreparedWrite { key, ..change(name, 0) }])
    };
    let rotating = Facts { wrapping: Some(new.id()), ..log() };
    let plan = judge(rotating, [wrapped("cy", &old), wrapped("dan", &new), append([change("ada", 1)])]);
    let told = &plan.verdicts[0];
    assert!(matches!(told, Err(AppendError::WrappedBefore { master }) if *master == new.id()), "{told:?}");
    assert_eq!(places(&plan), [(4, "dan", 1), (5, "ada", 2)]);
    assert_eq!(plan.keyed.len(), 1);
}
