//! Waivers on the wire: validate, one call, convert.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use scangate_core::{
    name::WaiverId,
    waiver::{Revision, Waiver},
};
use scangate_proto::v1::{
    self, CreateWaiverRequest, CreateWaiverResponse, GetWaiverRequest, GetWaiverResponse, ImportWaiversRequest,
    ImportWaiversResponse, ListWaiversRequest, ListWaiversResponse, RevokeWaiverRequest, RevokeWaiverResponse,
    UpdateWaiverRequest, UpdateWaiverResponse,
};
use tonic::{Status, metadata::MetadataMap};

use super::{PolicyApi, terms};
use crate::{
    grpc::{
        convert::{
            policy::{self as policy_fields, revision_token_out},
            time::period,
            waiver::{self as waiver_fields, waiver_out},
        },
        field_violations::Fields,
        page_token, status,
    },
    policies,
    policy_store::{self, Change, Precondition, Resource, ResourceName, WriteResult},
    waivers::{self, openvex},
};

/// The longest that a caller may look ahead.
const MOST_AHEAD: Duration = Duration::from_hours(3650 * 24);
/// Waivers that one look for those that match nothing goes through.
const LOOKED_THROUGH: usize = 1_000;

impl PolicyApi {
    pub(super) async fn create(
        &self,
        metadata: &MetadataMap,
        request: CreateWaiverRequest,
    ) -> Result<CreateWaiverResponse, Status> {
        let mut fields = Fields::default();
        let id = if request.waiver_id.is_empty() {
            waivers::random_id()
        } else {
            fields.keep("waiver_id", WaiverId::parse(&request.waiver_id))
        };
        let waiver = waiver_fields::waiver(&mut fields, "waiver", id, request.waiver.as_ref(), None, self.waiver_terms);
        let terms = terms(&mut fields, request.validate_only, &request.request_id, || CreateWaiverRequest {
            request_id: String::new(),
            ..request.clone()
        });
        let waiver = fields.finish(waiver)?;
        let written = self.write(metadata, Change::Create(vec![Resource::Waiver(waiver)]), terms).await?;
        Ok(CreateWaiverResponse {
            waiver: self.first(&written).await?,
            revision: written.revision,
            revision_token: revision_token_out(written.revision),
        })
    }

    pub(super) async fn get(&self, request: &GetWaiverRequest) -> Result<GetWaiverResponse, Status> {
        let mut fields = Fields::default();
        let id = waiver_fields::name(&mut fields, "name", &request.name);
        let token = policy_fields::revision_token(&mut fields, &request.at_least_as_fresh);
        let id = fields.finish(id)?;
        let set = self.policies.at_least(token).await.map_err(status::of_policies)?;
        let revised = set.waivers.get(&id).ok_or_else(|| status::waiver_not_found(&id))?;
        Ok(GetWaiverResponse { waiver: Some(self.told(revised).await?) })
    }

    pub(super) async fn list(&self, request: &ListWaiversRequest) -> Result<ListWaiversResponse, Status> {
        let mut fields = Fields::default();
        let states =
            fields.each("states", &request.states, |fields, path, given| waiver_fields::state(fields, path, *given));
        let within = period(&mut fields, "expires_within", request.expires_within.as_ref(), MOST_AHEAD);
        let token = policy_fields::revision_token(&mut fields, &request.at_least_as_fresh);
        let size = page_token::size(&mut fields, request.page_size);
        let binding = format!("{states:?}\n{within:?}\n{}", request.matches_nothing);
        let mut after = page_token::cursor::<WaiverId>(&mut fields, &binding, &request.page_token);
        fields.finish(Some(()))?;

        let set = self.policies.at_least(token).await.map_err(status::of_policies)?;
        let now = Timestamp::now();
        let horizon = within.and_then(|within| now.saturating_add(SignedDuration::try_from(within).ok()?).ok());
        let wanted = |revised: &Revision| {
            let waiver = &revised.waiver;
            (states.is_empty() || states.contains(&waiver.state(now)))
                && horizon.is_none_or(|horizon| now < waiver.end() && waiver.end() <= horizon)
        };
        let mut listed = Vec::new();
        let mut is_last = true;
        for (looked, revised) in set.waivers.after(after.clone().as_ref()).enumerate() {
            if listed.len() == size || (request.matches_nothing && looked == LOOKED_THROUGH) {
                is_last = false;
                break;
            }
            after = Some(revised.waiver.id.clone());
            if wanted(revised) {
                let told = self.told(revised).await?;
                if !(request.matches_nothing && told.matches_findings) {
                    listed.push(told);
                }
            }
        }
        let next = after.filter(|_| !is_last);
        Ok(ListWaiversResponse {
            waivers: listed,
            next_page_token: next.map(|next| page_token::token(&binding, &next)).unwrap_or_default(),
            revision: set.revision,
        })
    }

    pub(super) async fn update(
        &self,
        metadata: &MetadataMap,
        request: UpdateWaiverRequest,
    ) -> Result<UpdateWaiverResponse, Status> {
        let mut fields = Fields::default();
        let given = request.waiver.as_ref();
        let id = waiver_fields::name(&mut fields, "waiver.name", given.map_or("", |waiver| &waiver.name));
        let expected = policy_fields::etag(&mut fields, "waiver.etag", given.map_or("", |waiver| &waiver.etag));
        let old = match id.as_ref().zip(expected) {
            Some((id, expected)) => Some(self.present(id, expected).await?),
            None => None,
        };
        let before = old.as_ref().map(|old| &old.waiver);
        let waiver = waiver_fields::waiver(&mut fields, "waiver", id.clone(), given, before, self.waiver_terms);
        let terms = terms(&mut fields, request.validate_only, &request.request_id, || UpdateWaiverRequest {
            request_id: String::new(),
            ..request.clone()
        });
        let (waiver, expected) = fields.finish(waiver.zip(expected))?;
        let expected = old.map_or(expected, |old| as_read(expected, &old));
        let written =
            self.write(metadata, Change::Update { document: Resource::Waiver(waiver), expected }, terms).await?;
        Ok(UpdateWaiverResponse {
            waiver: self.first(&written).await?,
            revision: written.revision,
            revision_token: revision_token_out(written.revision),
        })
    }

    pub(super) async fn revoke(
        &self,
        metadata: &MetadataMap,
        request: RevokeWaiverRequest,
    ) -> Result<RevokeWaiverResponse, Status> {
        let mut fields = Fields::default();
        let id = waiver_fields::name(&mut fields, "name", &request.name);
        let expected = policy_fields::etag(&mut fields, "etag", &request.etag);
        waiver_fields::reason(&mut fields, "reason", &request.reason);
        let terms = terms(&mut fields, request.validate_only, &request.request_id, || RevokeWaiverRequest {
            request_id: String::new(),
            ..request.clone()
        });
        let (id, expected) = fields.finish(id.zip(expected))?;
        let old = self.present(&id, expected).await?;
        let expected = as_read(expected, &old);
        if old.waiver.revocation.is_some() && terms.request.is_none() {
            // It has been revoked already, and stays so.
            return Ok(RevokeWaiverResponse {
                waiver: Some(self.told(&old).await?),
                revision: old.revision,
                revision_token: revision_token_out(old.revision),
            });
        }
        let waiver = match &old.waiver.revocation {
            Some(_) => old.waiver.clone(),
            None => waivers::revoked(&old.waiver, Timestamp::now(), request.reason.trim()),
        };
        let written =
            self.write(metadata, Change::Update { document: Resource::Waiver(waiver), expected }, terms).await?;
        Ok(RevokeWaiverResponse {
            waiver: self.first(&written).await?,
            revision: written.revision,
            revision_token: revision_token_out(written.revision),
        })
    }

    pub(super) async fn import(&self, request: ImportWaiversRequest) -> Result<ImportWaiversResponse, Status> {
        let mut fields = Fields::default();
        let document = request.openvex.clone();
        // A large one takes its time, and nobody else's.
        let reading = tokio::task::spawn_blocking(move || openvex::read(&document)).await;
        let reading =
            fields.keep("openvex", reading.map_err(|_| status::internal("an OpenVEX document was not read"))?);
        let common = self.common(&mut fields, request.template.as_ref());
        let terms = terms(&mut fields, request.validate_only, &request.request_id, || ImportWaiversRequest {
            request_id: String::new(),
            ..request.clone()
        });
        let (reading, common) = fields.finish(reading.zip(common))?;
        let set = self.policies.at_least(None).await.map_err(status::of_policies)?;
        let mut skipped = reading.skipped.clone();
        let without = reading.exceptions.iter().filter(|exception| !waivers::has_a_place(exception, &common));
        skipped.extend(without.map(|exception| format!("{}: {}", exception.vulnerability, waivers::NOWHERE)));
        let now = Timestamp::now();
        let (doubting, earlier) = (reading.clone(), Arc::clone(&set));
        let doubted = tokio::task::spawn_blocking(move || {
            let holding = earlier.waivers.after(None).map(|there| &there.waiver).filter(|there| now < there.end());
            let doubted = holding.filter(|there| waivers::is_doubted(&doubting, there));
            doubted.map(|there| there.id.resource_name()).collect::<Vec<_>>()
        });
        let doubted = doubted.await.map_err(|_| status::internal("earlier imports were not looked through"))?;
        skipped.extend(doubted.into_iter().map(|name| {
            format!("{name}, of an earlier import, stands although the document doubts it now: revoke it")
        }));
        let mut documents = Vec::new();
        for waiver in waivers::imported(&reading, &common) {
            match set.waivers.get(&waiver.id) {
                Some(there) => {
                    let state = format!("{:?}", there.waiver.state(now)).to_lowercase();
                    let name = waiver.id.resource_name();
                    skipped.push(format!("{name} is there already, {state}, and was not changed: see UpdateWaiver"));
                }
                None => documents.push(Resource::Waiver(waiver)),
            }
        }
        let nothing = WriteResult { revision: set.revision, documents: Vec::new() };
        let written = if documents.is_empty() && terms.request.is_none() {
            nothing
        } else {
            // A retry finds what the first attempt made and has nothing to create; the store knows the request, and answers as it
            // did then.
            let is_empty = documents.is_empty();
            match self.policies.write(Change::Create(documents), terms).await {
                Err(policies::Error::Store(policy_store::Error::BatchSize)) if is_empty => nothing,
                written => written.map_err(status::of_policies)?,
            }
        };
        let mut waivers = Vec::with_capacity(written.documents.len());
        for revised in written.waivers() {
            waivers.push(self.told(revised).await?);
        }
        Ok(ImportWaiversResponse {
            waivers,
            skipped,
            revision: written.revision,
            revision_token: revision_token_out(written.revision),
        })
    }

    /// What imported waivers have in common. What the document has to say must not be said here.
    fn common(&self, fields: &mut Fields, given: Option<&v1::Waiver>) -> Option<Waiver> {
        let given = given.cloned().unwrap_or_default();
        let scope = given.scope.clone().unwrap_or_default();
        for (field, text) in [
            ("scope.vulnerability_id", &scope.vulnerability_id),
            ("scope.package", &scope.package),
            ("scope.digest", &scope.digest),
            ("reason", &given.reason),
        ] {
            if !text.is_empty() {
                fields.refuse(format!("template.{field}"), "must be empty: the document says it");
            }
        }
        // In their stead something that is never used, so that the rest can be checked as that of any waiver.
        let scope = v1::WaiverScope { vulnerability_id: "-".to_owned(), ..scope };
        let filled = v1::Waiver { scope: Some(scope), reason: "imported".to_owned(), ..given };
        let id = waivers::random_id();
        waiver_fields::waiver(fields, "template", id, Some(&filled), None, self.waiver_terms)
    }

    /// The waiver as it is, at least at the revision that the caller has read: what an older one says of its time is over.
    async fn present(&self, id: &WaiverId, read: Precondition) -> Result<Arc<Revision>, Status> {
        let read = match read {
            Precondition::Revision(revision) => Some(revision),
            Precondition::Any => None,
        };
        let (set, is_reached) = match self.policies.at_least(read).await {
            Err(policies::Error::RevisionNotReached { .. }) => (self.policies.at_least(None).await, false),
            set => (set, true),
        };
        let set = set.map_err(status::of_policies)?;
        let there = set.waivers.get(id).ok_or_else(|| status::waiver_not_found(id))?;
        if is_reached {
            return Ok(Arc::clone(there));
        }
        let conflict = policy_store::Error::Conflict { key: ResourceName::Waiver(id.clone()), actual: there.revision };
        Err(status::of_policies(policies::Error::Store(conflict)))
    }

    /// The waiver as stored, with whether anything that was met is in its scope.
    pub(super) async fn told(&self, revised: &Revision) -> Result<v1::Waiver, Status> {
        let scope = &revised.waiver.scope;
        let met = self.observations.was_seen(scope).await;
        let met = met.map_err(status::of_observations)?;
        Ok(waiver_out(revised, met, Timestamp::now()))
    }

    async fn first(&self, written: &WriteResult) -> Result<Option<v1::Waiver>, Status> {
        match written.waivers().next() {
            Some(revised) => self.told(revised).await.map(Some),
            None => Ok(None),
        }
    }
}

/// Whatever there is, but not what somebody writes in the meantime: that would be lost.
fn as_read(expected: Precondition, old: &Revision) -> Precondition {
    match expected {
        Precondition::Any => Precondition::Revision(old.revision),
        expected @ Precondition::Revision(_) => expected,
    }
}
