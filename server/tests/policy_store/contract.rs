//! What every backend promises, a function each. Each begins with a store of its own that nobody has written to.

mod concurrency;
mod history;
mod requests;
mod waivers;
mod writes;

use std::{pin::Pin, sync::Arc};

use scangate_server::policy_store::{Error, PolicyStore};

use crate::fixtures::{create, delete, update};
use scangate_server::policy_store::Precondition;

pub(crate) type Promise = fn(Arc<dyn PolicyStore>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! promises {
    ($($module:ident::$promise:ident,)+) => {
        /// Every promise, by its name.
        pub(crate) const PROMISES: &[(&str, Promise)] =
            &[$((stringify!($promise), |store| Box::pin($module::$promise(store)))),+];
    };
}

promises! {
    writes::a_new_store_answers_and_holds_the_default_policy_at_revision_one,
    writes::a_policy_comes_back_exactly_as_it_was_written,
    writes::an_update_replaces_the_policy_and_keeps_its_create_time,
    writes::a_deleted_policy_is_gone,
    writes::a_write_that_expects_another_revision_is_a_conflict_and_changes_nothing,
    writes::a_policy_that_does_not_exist_is_neither_updated_nor_deleted,
    writes::a_second_create_of_the_same_id_is_refused_and_changes_nothing,
    writes::the_default_policy_can_be_changed_and_not_deleted,
    writes::a_policy_created_again_after_its_deletion_begins_at_a_later_revision,
    writes::revisions_grow_by_one_with_every_write_and_not_with_a_refused_one,
    writes::policies_that_differ_in_their_id_alone_have_the_same_digest,
    writes::times_are_kept_and_answered_to_the_microsecond,
    requests::a_create_sent_again_returns_what_it_returned_before,
    requests::an_update_sent_again_returns_what_it_returned_before,
    requests::a_delete_sent_again_returns_what_it_returned_before,
    requests::a_request_id_used_for_another_request_is_refused,
    requests::a_refused_request_is_not_remembered,
    requests::a_request_is_remembered_for_24_hours_and_no_longer,
    concurrency::of_many_writers_that_expect_the_same_revision_exactly_one_wins,
    concurrency::concurrent_creates_all_land_at_revisions_of_their_own,
    concurrency::a_request_sent_many_times_at_once_acts_once,
    concurrency::a_load_sees_one_revision_whole_while_others_write,
    concurrency::a_caller_that_gives_up_leaves_all_of_the_change_or_nothing,
    concurrency::changes_are_seen_in_order_and_none_is_missed_while_others_write,
    history::what_has_changed_since_a_revision_is_told_in_order,
    history::a_revision_is_told_with_the_time_at_which_it_was_written,
    history::what_was_in_force_at_a_revision_can_be_read_ever_after,
    history::the_history_of_a_policy_is_told_newest_first_in_pages_that_later_writes_do_not_move,
    waivers::a_waiver_comes_back_exactly_as_it_was_written,
    waivers::waivers_created_together_share_a_revision,
    waivers::of_waivers_created_together_one_that_exists_refuses_all,
    waivers::a_write_creates_between_one_and_a_thousand_documents,
    waivers::a_waiver_and_a_policy_may_have_the_same_id,
    waivers::a_waiver_is_replaced_only_at_the_revision_expected,
    waivers::a_revoked_waiver_stays_revoked_whatever_the_write_expects,
    waivers::an_import_sent_again_returns_what_it_returned_before,
}

/// Fills a store with policies up to the brim: what 9,999 creates would have left, less the time that they take.
pub(crate) const FILL: &str = "
    insert into document_revisions (kind, id, revision, body, content_digest, create_time, write_time)
        with recursive n (i) as (select 1 union all select i + 1 from n where i < 9999)
        select kind, 'policy-' || i, 1 + i, body, content_digest, create_time, write_time from n, documents;
    insert into documents (kind, id, revision, body, content_digest, create_time, write_time)
        select kind, id, revision, body, content_digest, create_time, write_time
        from document_revisions where id <> 'default';
    update store_revision set revision = 10000;";

/// Not in the list, since a backend has its own way of filling a store: this one must hold as many policies as it takes,
/// `default` and `policy-1` among them.
pub(crate) async fn a_full_store_takes_changes_and_no_more_policies(store: Arc<dyn PolicyStore>) {
    let refused = store.apply(create("one-too-many")).await;
    store.apply(update("policy-1", Precondition::Any)).await.unwrap();
    store.apply(delete("policy-1", Precondition::Any)).await.unwrap();
    let fits = store.apply(create("fits")).await;

    assert!(matches!(refused, Err(Error::TooManyPolicies)), "{refused:?}");
    assert!(fits.is_ok(), "{fits:?}");
}
