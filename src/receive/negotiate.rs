//! What a peer may send and how: the answer to its request for an association.
//!
//! # Source
//! DICOM PS3.8 9.3.2 to 9.3.4, PS3.4 annex B.

use std::net::IpAddr;

use dicom_dictionary_std::uids;
use dicom_ul::pdu::{
    AssociationAC, AssociationRJ, AssociationRJResult, AssociationRJServiceProviderASCEReason,
    AssociationRJServiceProviderPresentationReason, AssociationRJServiceUserReason, AssociationRJSource,
    AssociationRQ, PresentationContextProposed, PresentationContextResult,
    PresentationContextResultReason as Reason, RequestorRoles, UserVariableItem,
};

use super::Settings;
use super::peers::Peer;
use crate::dicom::{CT_CLASSES, IMPLEMENTATION_UID};
use crate::dimse::{APPLICATION_CONTEXT, AeTitle, COMMITMENT, VERSION_NAME};

/// How it may be written, the first first: what is quickest to read of what loses nothing, then what loses something.
const STORED_SYNTAXES: [&str; 19] = [
    uids::EXPLICIT_VR_LITTLE_ENDIAN,
    uids::IMPLICIT_VR_LITTLE_ENDIAN,
    uids::RLE_LOSSLESS,
    uids::JPEG_LOSSLESS_SV1,
    uids::JPEG_LOSSLESS,
    uids::JPEGLS_LOSSLESS,
    uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    "1.2.840.10008.1.2.1.98",
    "1.2.840.10008.1.2.2",
    uids::JPEG2000_LOSSLESS,
    uids::HTJ2K_LOSSLESS,
    uids::HTJ2K_LOSSLESS_RPCL,
    uids::JPEG2000,
    uids::JPEGLS_NEAR_LOSSLESS,
    uids::JPEG_EXTENDED12_BIT,
    uids::JPEG_BASELINE8_BIT,
    "1.2.840.10008.1.2.4.53",
    "1.2.840.10008.1.2.4.55",
    uids::HTJ2K,
];

/// How a report on what is kept may be written: as everybody can.
const REPORT_SYNTAXES: [&str; 1] = [uids::IMPLICIT_VR_LITTLE_ENDIAN];

/// How a question without a data set may be written: it is not.
const ECHO_SYNTAXES: [&str; 2] = [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_LITTLE_ENDIAN];

/// What was agreed on under a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    pub id: u8,
    pub sop_class_uid: String,
    pub transfer_syntax: String,
}

/// Accepts or rejects a request. Rejected, it says what to answer and why.
pub fn negotiate(
    request: &AssociationRQ,
    from: IpAddr,
    settings: &Settings,
) -> Result<(AssociationAC, Vec<Context>), (AssociationRJ, &'static str)> {
    use AssociationRJServiceUserReason as User;
    if request.protocol_version & 1 == 0 {
        let version = AssociationRJServiceProviderASCEReason::ProtocolVersionNotSupported;
        let source = AssociationRJSource::ServiceProviderASCE(version);
        return Err((reject(source), "its protocol's version"));
    }
    let wrong = |reason, why| Err((reject(AssociationRJSource::ServiceUser(reason)), why));
    if request.application_context_name.trim_end_matches('\0') != APPLICATION_CONTEXT {
        return wrong(User::ApplicationContextNameNotSupported, "its application context");
    }
    let is = |title: &AeTitle, text: &str| title.as_str() == text.trim_matches([' ', '\0']);
    // Before its own name is looked at: whoever does not know ours learns nothing of the list.
    if !is(&settings.ae_title, &request.called_ae_title) {
        return wrong(User::CalledAETitleNotRecognized, "it calls another title");
    }
    let known = |peer: &Peer| is(&peer.ae_title, &request.calling_ae_title) && peer.address.contains(from);
    if !settings.peers.iter().any(known) {
        return wrong(User::CallingAETitleNotRecognized, "its title is not listed for its address");
    }
    let mut agreed: Vec<Context> = Vec::new();
    let results =
        request.presentation_contexts.iter().map(|proposed| match agree(proposed, settings.reports) {
            Ok(context) if !agreed.iter().any(|other| other.id == context.id) => {
                agreed.push(context.clone());
                result(proposed.id, Reason::Acceptance, context.transfer_syntax)
            }
            // A number that was given twice.
            Ok(_) => result(proposed.id, Reason::NoReason, uids::IMPLICIT_VR_LITTLE_ENDIAN.to_owned()),
            Err(reason) => result(proposed.id, reason, uids::IMPLICIT_VR_LITTLE_ENDIAN.to_owned()),
        });
    let mut answer = AssociationAC {
        protocol_version: 1,
        application_context_name: APPLICATION_CONTEXT.to_owned(),
        // PS3.8 9.3.3: sent back as they came.
        called_ae_title: request.called_ae_title.clone(),
        calling_ae_title: request.calling_ae_title.clone(),
        presentation_contexts: results.collect(),
        user_variables: vec![
            UserVariableItem::MaxLength(settings.pdu_bytes),
            UserVariableItem::ImplementationClassUID(IMPLEMENTATION_UID.to_owned()),
            UserVariableItem::ImplementationVersionName(VERSION_NAME.to_owned()),
        ],
    };
    answer.user_variables.extend(request.user_variables.iter().filter_map(role));
    Ok((answer, agreed))
}

/// Whoever asks for an association is the one that asks in it, but for an archive that reports.
///
/// # Source
/// DICOM PS3.7 D.3.3.4; PS3.4 J.3.
fn role(proposed: &UserVariableItem) -> Option<UserVariableItem> {
    let UserVariableItem::ScuScpRoleSelectionSubItem(class, roles) = proposed else { return None };
    let is_report = class.trim_end_matches('\0') == COMMITMENT.0;
    let roles = RequestorRoles { scu: roles.scu && !is_report, scp: roles.scp && is_report };
    Some(UserVariableItem::ScuScpRoleSelectionSubItem(class.clone(), roles))
}

fn agree(proposed: &PresentationContextProposed, reports: bool) -> Result<Context, Reason> {
    let class = proposed.abstract_syntax.trim_end_matches('\0');
    let syntaxes: &[&str] = match class {
        uids::VERIFICATION => &ECHO_SYNTAXES,
        class if class == COMMITMENT.0 && reports => &REPORT_SYNTAXES,
        class if CT_CLASSES.contains(&class) => &STORED_SYNTAXES,
        _ => return Err(Reason::AbstractSyntaxNotSupported),
    };
    let offers = |syntax: &str| {
        proposed.transfer_syntaxes.iter().any(|offered| offered.trim_end_matches('\0') == syntax)
    };
    let syntax = syntaxes.iter().find(|syntax| offers(syntax)).ok_or(Reason::TransferSyntaxesNotSupported)?;
    Ok(Context { id: proposed.id, sop_class_uid: class.to_owned(), transfer_syntax: (*syntax).to_owned() })
}

fn result(id: u8, reason: Reason, transfer_syntax: String) -> PresentationContextResult {
    PresentationContextResult { id, reason, transfer_syntax }
}

fn reject(source: AssociationRJSource) -> AssociationRJ {
    AssociationRJ { result: AssociationRJResult::Permanent, source }
}

/// The answer to a request that may be granted when it is made again.
pub fn no_room() -> AssociationRJ {
    let limit = AssociationRJServiceProviderPresentationReason::LocalLimitExceeded;
    let source = AssociationRJSource::ServiceProviderPresentation(limit);
    AssociationRJ { result: AssociationRJResult::Transient, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn request() -> AssociationRQ {
        let context = |id, class: &str, syntaxes: &[&str]| PresentationContextProposed {
            id,
            abstract_syntax: class.to_owned(),
            transfer_syntaxes: syntaxes.iter().map(|&syntax| syntax.to_owned()).collect(),
        };
        AssociationRQ {
            protocol_version: 1,
            calling_ae_title: "CT1".to_owned(),
            called_ae_title: "HEMAPATCH".to_owned(),
            application_context_name: APPLICATION_CONTEXT.to_owned(),
            presentation_contexts: vec![
                context(1, uids::VERIFICATION, &[uids::IMPLICIT_VR_LITTLE_ENDIAN]),
                context(3, uids::CT_IMAGE_STORAGE, &[uids::JPEG2000, uids::EXPLICIT_VR_LITTLE_ENDIAN]),
                context(5, uids::CT_IMAGE_STORAGE, &[uids::MPEG2MPML]),
                context(7, uids::MR_IMAGE_STORAGE, &[uids::EXPLICIT_VR_LITTLE_ENDIAN]),
                context(3, uids::CT_IMAGE_STORAGE, &[uids::JPEG2000]),
            ],
            user_variables: Vec::new(),
        }
    }

    fn answer(request: &AssociationRQ, from: &str) -> Result<(AssociationAC, Vec<Context>), &'static str> {
        answer_where(request, from, false)
    }

    fn answer_where(
        request: &AssociationRQ,
        from: &str,
        reports: bool,
    ) -> Result<(AssociationAC, Vec<Context>), &'static str> {
        let title = |text: &str| AeTitle::try_from(text.to_owned()).unwrap();
        let peers = [Peer { ae_title: title("CT1"), address: "10.1.0.0/16".parse().unwrap() }];
        let settings = Settings {
            ae_title: title("HEMAPATCH"),
            peers: peers.to_vec(),
            tls: None,
            associations: 1,
            associations_per_second: 1,
            pdu_bytes: 65_536,
            object_bytes: 1,
            idle: Duration::ZERO,
            patience: Duration::ZERO,
            object_time: Duration::ZERO,
            reports,
        };
        negotiate(request, from.parse().unwrap(), &settings).map_err(|(_, why)| why)
    }

    #[test]
    fn each_context_is_answered_by_itself() {
        let (answer, agreed) = answer(&request(), "10.1.2.3").unwrap();
        let reasons: Vec<_> =
            answer.presentation_contexts.iter().map(|result| result.reason.clone() as u8).collect();
        assert_eq!(reasons, [0, 0, 4, 3, 2]);
        let agreed: Vec<_> =
            agreed.iter().map(|context| (context.id, context.transfer_syntax.as_str())).collect();
        assert_eq!(agreed, [(1, uids::IMPLICIT_VR_LITTLE_ENDIAN), (3, uids::EXPLICIT_VR_LITTLE_ENDIAN)]);
    }

    #[test]
    fn an_archive_may_report_where_reports_are_waited_for() {
        let mut request = request();
        let (class, syntax) = (COMMITMENT.0.to_owned(), uids::IMPLICIT_VR_LITTLE_ENDIAN.to_owned());
        let proposed = PresentationContextProposed {
            id: 9,
            abstract_syntax: class.clone(),
            transfer_syntaxes: vec![syntax],
        };
        request.presentation_contexts = vec![proposed];
        let role = |scu, scp| {
            UserVariableItem::ScuScpRoleSelectionSubItem(class.clone(), RequestorRoles { scu, scp })
        };
        request.user_variables = vec![role(true, true)];
        let (accepted, agreed) = answer_where(&request, "10.1.2.3", true).unwrap();
        assert_eq!(agreed.len(), 1);
        assert!(accepted.user_variables.contains(&role(false, true)));
        let (_, agreed) = answer(&request, "10.1.2.3").unwrap();
        assert!(agreed.is_empty());
    }

    #[test]
    fn nobody_is_accepted_who_is_not_listed() {
        assert!(answer(&request(), "10.2.2.3").unwrap_err().contains("address"));
        let named = |change: fn(&mut AssociationRQ)| {
            let mut request = request();
            change(&mut request);
            answer(&request, "10.1.2.3")
        };
        assert!(named(|request| request.calling_ae_title = "CT2".to_owned()).is_err());
        assert!(named(|request| request.calling_ae_title = String::new()).is_err());
        assert!(named(|request| request.called_ae_title = "ORTHANC".to_owned()).is_err());
        assert!(named(|request| request.protocol_version = 2).is_err());
        assert!(named(|request| request.application_context_name = "1.2".to_owned()).is_err());
        assert!(named(|request| request.calling_ae_title = " CT1 ".to_owned()).is_ok());
    }
}
