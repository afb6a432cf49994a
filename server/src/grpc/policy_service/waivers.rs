//! Waivers on the wire: validates, makes one call, converts.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use scangate_core::{name::WaiverId, waiver::Waiver};
use scangate_proto::v1::{
    self, ApproveWaiverRequest, ApproveWaiverResponse, CreateWaiverRequest, CreateWaiverResponse, GetWaiverRequest,
    GetWaiverResponse, ImportWaiversRequest, ImportWaiversResponse, ListWaiversRequest, ListWaiversResponse,
    RevokeWaiverRequest, RevokeWaiverResponse, SkippedStatement, UpdateWaiverRequest, UpdateWaiverResponse,
    import_waivers_request::Document,
};
use tonic::Status;

use super::{PolicyService, write_options};
use crate::{
    auth::{Authorization, Source},
    grpc::{
        byte_budget::ByteBudget,
        convert::{
            count::render_count,
            policy as policy_fields,
            revision::{parse_revision, render_revision},
            time::parse_duration,
            waiver::{self as waiver_fields, render_waiver},
        },
        current_call,
        field_violations::Fields,
        page_token, scopes, status,
        update_mask::WAIVER,
    },
    policies::WriteOptions,
    policy_store::WriteResult,
    waivers::{self, Filter, Import, ImportWrite, Query, StoredWaiver, WaiverWrite, openvex},
};

/// The longest name of a document in an audit line, in characters.
const MAX_TARGET: usize = 256;
/// The longest `expires_within`.
const MAX_EXPIRES_WITHIN: Duration = Duration::from_hours(3650 * 24);

impl PolicyService {
    pub(super) async fn create(
        &self,
        caller: &Authorization,
        request: CreateWaiverRequest,
    ) -> Result<CreateWaiverResponse, Status> {
        let mut fields = Fields::default();
        let options = write_options(&mut fields, caller, request.validate_only, &request.request_id, || {
            CreateWaiverRequest { request_id: String::new(), ..request.clone() }
        });
        let write = async {
            let id = if request.waiver_id.is_empty() {
                waivers::random_id()
            } else {
                fields.check("waiver_id", WaiverId::parse(&request.waiver_id))
            };
            let wire = request.waiver.as_ref();
            let waiver = waiver_fields::parse_waiver(&mut fields, "waiver", id, wire, self.waiver_limits);
            let waiver = fields.finish(waiver)?;
            current_call::set_target(waiver.id.resource_name());
            scopes::check_waiver(caller, &waiver)?;
            self.waivers.create(waiver, options.clone()).await.map_err(status::from_waivers)
        };
        let written = self.write_once(&options, write).await?;
        let (waiver, notes) = self.render_write(&written).await?;
        Ok(CreateWaiverResponse { waiver, revision: render_revision(written.revision), notes })
    }

    pub(super) async fn get(&self, request: &GetWaiverRequest) -> Result<GetWaiverResponse, Status> {
        let mut fields = Fields::default();
        let id = waiver_fields::parse_name(&mut fields, "name", &request.name);
        let token = parse_revision(&mut fields, "at_least_as_fresh", &request.at_least_as_fresh);
        let id = fields.finish(id)?;
        let (stored, revision) = self.waivers.get(&id, token).await.map_err(status::from_waivers)?;
        Ok(GetWaiverResponse { waiver: Some(render_stored(&stored)), revision: render_revision(revision) })
    }

    pub(super) async fn list(&self, request: &ListWaiversRequest) -> Result<ListWaiversResponse, Status> {
        let mut fields = Fields::default();
        let filter = parse_filter(&mut fields, request.filter.as_ref());
        let token = parse_revision(&mut fields, "at_least_as_fresh", &request.at_least_as_fresh);
        let page_size = page_token::parse_size(&mut fields, request.page_size);
        let binding = format!("{filter:?}");
        let after = page_token::decode::<WaiverId>(&mut fields, &binding, &request.page_token);
        fields.finish(Some(()))?;
        let query = Query { filter, at_least_as_fresh: token, after, page_size };
        let page = self.waivers.list(query).await.map_err(status::from_waivers)?;
        let (waivers, last) = ByteBudget::page().take_page_of(&page.waivers, page.waivers.len(), render_stored);
        let last = last.map(|stored| stored.revision.waiver.id.clone());
        Ok(ListWaiversResponse {
            waivers,
            next_page_token: last.or(page.next).map(|next| page_token::encode(&binding, &next)).unwrap_or_default(),
            revision: render_revision(page.revision),
        })
    }

    pub(super) async fn update(
        &self,
        caller: &Authorization,
        request: UpdateWaiverRequest,
    ) -> Result<UpdateWaiverResponse, Status> {
        let mut fields = Fields::default();
        let options = write_options(&mut fields, caller, request.validate_only, &request.request_id, || {
            UpdateWaiverRequest { request_id: String::new(), ..request.clone() }
        });
        let written = self.write_once(&options, self.replace_waiver(caller, &request, fields, options.clone())).await?;
        let (waiver, notes) = self.render_write(&written).await?;
        Ok(UpdateWaiverResponse { waiver, revision: render_revision(written.revision), notes })
    }

    async fn replace_waiver(
        &self,
        caller: &Authorization,
        request: &UpdateWaiverRequest,
        mut fields: Fields,
        options: WriteOptions,
    ) -> Result<WriteResult, Status> {
        let message = WAIVER.require(&mut fields, request.waiver.as_ref());
        let id = message.and_then(|waiver| waiver_fields::parse_name(&mut fields, "waiver.name", &waiver.name));
        let expected = message.and_then(|waiver| policy_fields::parse_etag(&mut fields, "waiver.etag", &waiver.etag));
        let complete =
            message.filter(|waiver| policy_fields::check_complete(&mut fields, "waiver", &waiver.not_understood));
        let Some(((message, id), expected)) = complete.zip(id).zip(expected) else {
            return fields.finish(None);
        };
        current_call::set_target(id.resource_name());
        let current = self.waivers.current(&id, expected).await.map_err(status::from_waivers)?;
        scopes::check_waiver(caller, &current.revision.waiver)?;
        let rendered = render_waiver(&current.revision, false, Timestamp::now());
        let merged = WAIVER.apply(&mut fields, request.update_mask.as_ref(), &rendered, message)?;
        let waiver = merged.and_then(|merged| {
            waiver_fields::check_term_is_set(&mut fields, &merged);
            waiver_fields::parse_waiver(&mut fields, "waiver", Some(id), Some(&merged), self.waiver_limits)
        });
        let waiver = fields.finish(waiver)?;
        scopes::check_waiver(caller, &waiver)?;
        self.waivers.update(waiver, current, options).await.map_err(status::from_waivers)
    }

    pub(super) async fn revoke(
        &self,
        caller: &Authorization,
        request: RevokeWaiverRequest,
    ) -> Result<RevokeWaiverResponse, Status> {
        let mut fields = Fields::default();
        let options = write_options(&mut fields, caller, request.validate_only, &request.request_id, || {
            RevokeWaiverRequest { request_id: String::new(), ..request.clone() }
        });
        let write = async {
            let id = waiver_fields::parse_name(&mut fields, "name", &request.name);
            let expected = policy_fields::parse_etag(&mut fields, "etag", &request.etag);
            waiver_fields::check_reason(&mut fields, "reason", &request.reason);
            let (id, expected) = fields.finish(id.zip(expected))?;
            current_call::set_target(id.resource_name());
            let current = self.waivers.current(&id, expected).await.map_err(status::from_waivers)?;
            scopes::check_waiver(caller, &current.revision.waiver)?;
            let revoked = self.waivers.revoke(current, request.reason.trim(), options.clone()).await;
            revoked.map_err(status::from_waivers)
        };
        let written = self.write_once(&options, write).await?;
        let (waiver, notes) = self.render_write(&written).await?;
        Ok(RevokeWaiverResponse { waiver, revision: render_revision(written.revision), notes })
    }

    pub(super) async fn approve(
        &self,
        caller: &Authorization,
        request: ApproveWaiverRequest,
    ) -> Result<ApproveWaiverResponse, Status> {
        let mut fields = Fields::default();
        let options = write_options(&mut fields, caller, request.validate_only, &request.request_id, || {
            ApproveWaiverRequest { request_id: String::new(), ..request.clone() }
        });
        let write = async {
            let id = waiver_fields::parse_name(&mut fields, "name", &request.name);
            let expected = policy_fields::parse_etag(&mut fields, "etag", &request.etag);
            let (id, expected) = fields.finish(id.zip(expected))?;
            current_call::set_target(id.resource_name());
            if caller.caller().source() == Source::None {
                return Err(status::identity_required("ApproveWaiver", &id));
            }
            let current = self.waivers.current(&id, expected).await.map_err(status::from_waivers)?;
            scopes::check_waiver(caller, &current.revision.waiver)?;
            self.waivers.approve(current, options.clone()).await.map_err(status::from_waivers)
        };
        let written = self.write_once(&options, write).await?;
        let described = self.waivers.describe_approval(&written).await.map_err(status::from_waivers)?;
        Ok(ApproveWaiverResponse {
            waiver: described.waiver.as_ref().map(render_stored),
            revision: render_revision(written.revision),
            notes: described.notes,
        })
    }

    /// Renders the waiver of a write, with notes on it and on the change.
    async fn render_write(&self, written: &WriteResult) -> Result<(Option<v1::Waiver>, Vec<String>), Status> {
        let WaiverWrite { waiver, mut notes } = self.waivers.describe(written).await.map_err(status::from_waivers)?;
        let waiver = waiver.as_ref().map(render_stored);
        if let (Some(old), Some(new)) = (written.replaced_waiver(), &waiver) {
            notes.extend(WAIVER.emptied(&render_waiver(old, false, Timestamp::now()), new));
        }
        Ok((waiver, notes))
    }

    pub(super) async fn import(
        &self,
        caller: &Authorization,
        request: ImportWaiversRequest,
    ) -> Result<ImportWaiversResponse, Status> {
        let mut fields = Fields::default();
        let options = write_options(&mut fields, caller, request.validate_only, &request.request_id, || {
            ImportWaiversRequest { request_id: String::new(), ..request.clone() }
        });
        let document = request.document.as_ref().map(|Document::OpenvexJson(json)| json.clone()).unwrap_or_default();
        // On a blocking thread: a large document takes time to parse.
        let document = tokio::task::spawn_blocking(move || openvex::parse(document.as_bytes())).await;
        let document =
            fields.check("openvex_json", document.map_err(|_| status::internal("an OpenVEX document was not parsed"))?);
        let template = self.template(&mut fields, request.template.as_ref());
        let import = document.zip(template);
        let import = import.map(|(document, template)| Import { document: Arc::new(document), template });
        let write = async {
            let import = fields.finish(import.as_ref())?;
            current_call::set_target(import.document.id.chars().take(MAX_TARGET).collect::<String>());
            // Each imported waiver has the repository and the environment of the template.
            scopes::check_waiver(caller, &import.template)?;
            self.waivers.import(import, options.clone()).await.map_err(status::from_waivers)
        };
        let written = self.write_once(&options, write).await?;
        let import = import.ok_or_else(|| status::internal("an import was recorded without a document"))?;
        let described = self.waivers.describe_import(&import, &written).await.map_err(status::from_waivers)?;
        Ok(render_import(described, written.revision))
    }

    /// The fields that all imported waivers share.
    fn template(&self, fields: &mut Fields, template: Option<&v1::WaiverTemplate>) -> Option<Waiver> {
        let v1::WaiverTemplate { scope, conditions, ticket, start_time, expire_time } =
            template.cloned().unwrap_or_default();
        let v1::WaiverTemplateScope { repository, environment, platform, everywhere } = scope.unwrap_or_default();
        // Placeholders, never used, so that the other fields are checked like those of any waiver.
        let vulnerability_id = "-".to_owned();
        let reason = "imported".to_owned();
        let scope =
            v1::WaiverScope { vulnerability_id, repository, environment, platform, everywhere, ..Default::default() };
        let scope = Some(scope);
        let message =
            v1::Waiver { scope, conditions, reason, ticket, start_time, expire_time, ..v1::Waiver::default() };
        let id = waivers::random_id();
        waiver_fields::parse_template(fields, "template", id, &message, self.waiver_limits)
    }
}

fn parse_filter(fields: &mut Fields, filter: Option<&v1::WaiverFilter>) -> Filter {
    let v1::WaiverFilter { states, expires_within, matches_findings } = filter.cloned().unwrap_or_default();
    let parse_state = |fields: &mut Fields, path: &str, state: &i32| waiver_fields::parse_state(fields, path, *state);
    Filter {
        states: fields.each("filter.states", &states, parse_state),
        expires_within: parse_duration(fields, "filter.expires_within", expires_within.as_ref(), MAX_EXPIRES_WITHIN),
        matches_findings,
    }
}

fn render_import(import: ImportWrite, revision: u64) -> ImportWaiversResponse {
    let ImportWrite { waivers, skipped, notes } = import;
    ImportWaiversResponse {
        waivers: ByteBudget::page().take_page(waivers.iter().map(render_stored)),
        skipped: skipped.into_iter().map(|detail| SkippedStatement { detail }).collect(),
        revision: render_revision(revision),
        notes,
        created_count: render_count(waivers.len()),
    }
}

fn render_stored(stored: &StoredWaiver) -> v1::Waiver {
    render_waiver(&stored.revision, stored.matches_findings, Timestamp::now())
}
