//! The promises of every backend, one function each, over a new store.

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
        /// Every promise with its name.
        pub(crate) const PROMISES: &[(&str, Promise)] =
            &[$((stringify!($promise), |store| Box::pin($module::$promise(store)))),+];
    };
}

promises! {
    writes::new_store_holds_default_policy_at_revision_one,
    writes::policy_reads_back_exactly_as_written,
    writes::update_replaces_policy_and_keeps_create_time,
    writes::deleted_policy_is_gone,
    writes::stale_revision_conflicts_and_changes_nothing,
    writes::missing_policy_is_neither_updated_nor_deleted,
    writes::duplicate_create_is_refused_and_changes_nothing,
    writes::default_policy_can_be_changed_but_not_deleted,
    writes::recreated_policy_begins_at_later_revision,
    writes::revisions_grow_by_one_per_accepted_write,
    writes::policies_differing_in_id_share_digest,
    writes::times_are_stored_to_microsecond,
    requests::repeated_create_returns_first_result,
    requests::repeated_update_returns_first_result,
    requests::repeated_delete_returns_first_result,
    requests::reused_request_id_is_refused,
    requests::equal_ids_of_callers_are_different_requests,
    requests::expired_request_deletes_no_other_caller,
    requests::recorded_result_is_found_within_window,
    requests::refused_request_is_not_recorded,
    requests::request_is_deduplicated_for_24_hours_only,
    concurrency::concurrent_writes_at_one_revision_one_wins,
    concurrency::concurrent_creates_get_distinct_revisions,
    concurrency::concurrent_repeated_requests_act_once,
    concurrency::load_during_writes_sees_one_revision,
    concurrency::cancelled_write_leaves_all_or_nothing,
    concurrency::changes_during_writes_are_complete_and_ordered,
    history::changes_since_revision_are_listed_in_order,
    history::changes_come_in_pages_of_whole_revisions,
    history::changes_state_times_of_their_revisions,
    history::snapshot_at_past_revision_stays_readable,
    history::history_states_authors,
    history::history_pages_newest_first_despite_later_writes,
    waivers::waiver_reads_back_exactly_as_written,
    waivers::waivers_created_together_share_revision,
    waivers::one_existing_waiver_refuses_whole_create,
    waivers::create_takes_one_to_thousand_resources,
    waivers::waiver_and_policy_may_share_id,
    waivers::waiver_update_needs_expected_revision,
    waivers::revoked_waiver_stays_revoked,
    waivers::repeated_import_returns_first_result,
}

/// Fills a store with the maximum number of policies, as 9,999 creates would, but faster.
pub(crate) const FILL: &str = "
    insert into document_revisions (kind, id, revision, body, content_digest, create_time, write_time, author)
        with recursive n (i) as (select 1 union all select i + 1 from n where i < 9999)
        select kind, 'policy-' || i, 1 + i, body, content_digest, create_time, write_time, author from n, documents;
    insert into documents (kind, id, revision, body, content_digest, create_time, write_time, author)
        select kind, id, revision, body, content_digest, create_time, write_time, author
        from document_revisions where id <> 'default';
    update store_revision set revision = 10000;";

/// A promise over a full store with the policies `default` and `policy-1`. It is not in the list: each backend fills the store in
/// its own way.
pub(crate) async fn full_store_takes_changes_but_no_new_policies(store: Arc<dyn PolicyStore>) {
    let refused = store.apply(create("one-too-many")).await;
    store.apply(update("policy-1", Precondition::Any)).await.unwrap();
    store.apply(delete("policy-1", Precondition::Any)).await.unwrap();
    let fits = store.apply(create("fits")).await;

    assert!(matches!(refused, Err(Error::TooManyPolicies)), "{refused:?}");
    assert!(fits.is_ok(), "{fits:?}");
}
