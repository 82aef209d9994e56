//! Tokens, key sets and answers in the shapes of providers that have no example of their own: as their documentation and their sources
//! have them, with names of our own. None was tried against the provider.

use crate::scene::*;
use crate::support::with;
use serde_json::{Value, json};

/// Whose tokens these are, what their header and their claims have beside or instead of those of a good one (`null` takes one out),
/// and what a key has.
fn tokens() -> Vec<(&'static str, Value, Value, Value)> {
    let none = || json!({});
    let jwt = || json!({"typ": "JWT"});
    vec![
        (
            "PingFederate",
            json!({"typ": null, "pi.atm": "1"}),
            json!({"scope": ["openid", "read"], "pi": {"sri": "x"}, "OrgName": "shop", "jti": null}),
            none(),
        ),
        (
            "PingOne",
            jwt(),
            json!({"aud": ["https://api.pingone.eu", AUDIENCE], "env": "e", "org": "o", "sid": "s"}),
            none(),
        ),
        (
            "ForgeRock AM",
            json!({"typ": "JWT", "zip": "NONE"}),
            json!({
                "sub": "(usr!ann)", "cts": "OAUTH2_STATELESS_GRANT", "auth_level": 0, "tokenName": "access_token",
                "token_type": "Bearer", "grant_type": "authorization_code", "scope": ["read"], "realm": "/", "expires_in": 3599,
            }),
            none(),
        ),
        (
            "WSO2 Identity Server",
            json!({"x5t": "NTAxZmMxNDMy"}),
            json!({"aut": "APPLICATION_USER", "binding_type": "cookie", "binding_ref": "b", "org_name": "Super", "azp": "client"}),
            json!({"x5t#S256": "NTAxZmMxNDMy", "x5c": ["MIIFRTCC"]}),
        ),
        (
            "Duende IdentityServer",
            none(),
            json!({"scope": ["read", "offline_access"], "amr": ["pwd"], "idp": "local", "auth_time": NOW - 60}),
            none(),
        ),
        (
            "OpenIddict",
            none(),
            json!({"oi_prst": "client", "oi_au_id": "1", "oi_tkn_id": "2"}),
            json!({"x5t": "x", "x5c": ["y"]}),
        ),
        (
            "Ory Hydra",
            jwt(),
            json!({"scope": null, "scp": ["read"], "ext": {}, "nbf": NOW - 60, "aud": [AUDIENCE]}),
            none(),
        ),
        ("Authelia", none(), json!({"scp": ["read"], "aud": [AUDIENCE], "auth_time": NOW - 9}), none()),
        (
            "authentik",
            jwt(),
            json!({"uid": "u", "acr": "goauthentik.io/providers/oauth2/default", "amr": ["pwd"], "groups": ["a"]}),
            json!({"x5c": ["MIIF"], "x5t": "a", "x5t#S256": "b"}),
        ),
        (
            "Casdoor",
            jwt(),
            json!({
                "owner": "built-in", "deletedTime": "", "id": "i", "type": "normal-user", "password": "", "isForbidden": false,
                "tokenType": "access-token", "azp": "client", "aud": [AUDIENCE], "jti": "admin/x", "roles": [], "score": 2000,
            }),
            json!({"x5c": ["MIIE"], "x5t": "x"}),
        ),
        (
            "FusionAuth",
            json!({"typ": "JWT", "gty": ["password"]}),
            json!({"tid": "t", "roles": ["a"], "auth_time": NOW}),
            none(),
        ),
        (
            "Curity",
            json!({"typ": "JWT", "x5t": "q"}),
            json!({"purpose": "access_token", "delegationId": "d", "jti": "P$1"}),
            none(),
        ),
        (
            "Janssen",
            jwt(),
            json!({"code": "3f7cb5e1", "scope": ["read"], "token_type": "Bearer", "x5t#S256": "", "username": "ann", "jti": null}),
            none(),
        ),
        (
            "IBM Verify",
            json!({"typ": null}),
            json!({"realmName": "cloudIdentityRealm", "grant_id": "g", "uniqueSecurityName": "u"}),
            none(),
        ),
        (
            "IBM App ID",
            json!({"typ": "JWT", "ver": 4}),
            json!({"aud": [AUDIENCE], "tenant": "t", "amr": ["google"]}),
            none(),
        ),
        (
            "SAP Cloud Identity",
            json!({"typ": "JWT", "jku": "https://t.accounts.ondemand.com/oauth2/certs"}),
            json!({"app_tid": "a", "sap_id_type": "user", "ias_iss": ISSUER, "ias_apis": ["a"]}),
            none(),
        ),
        (
            "XSUAA",
            json!({"typ": "JWT", "jku": "https://t.authentication.eu10.hana.ondemand.com/token_keys", "jid": "j"}),
            json!({
                "ext_attr": {"enhancer": "XSUAA"}, "xs.user.attributes": {}, "scope": ["openid", "x!t1.read"], "cid": "sb-x!t1",
                "grant_type": "refresh_token", "rev_sig": "r", "zid": "z", "jti": "2f0c0b6e4d1b4c0f8d0c6f5b0a9e8d7c",
            }),
            json!({"value": "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----"}),
        ),
        (
            "Salesforce",
            json!({"typ": "JWT", "tnk": "core/prod/00D", "ver": "1.0", "tty": "sfdc-core-token"}),
            json!({"scope": null, "scp": "openid api", "sub": "uid:005", "mty": "oauth", "hsc": false, "roles": []}),
            none(),
        ),
        (
            "Cloudflare Access",
            json!({"typ": null}),
            json!({"aud": [AUDIENCE], "type": "app", "identity_nonce": "n"}),
            none(),
        ),
        (
            "Cloudflare Access, a service",
            json!({"typ": null}),
            json!({"type": "app", "common_name": "x.access", "sub": ""}),
            none(),
        ),
        (
            "Google IAP",
            jwt(),
            json!({"sub": "accounts.google.com:1", "hd": "example.com", "google": {"access_levels": []}}),
            none(),
        ),
        (
            "Firebase",
            jwt(),
            json!({"user_id": "u", "firebase": {"sign_in_provider": "password"}, "scope": null}),
            none(),
        ),
        (
            "Azure AD B2C",
            jwt(),
            json!({"ver": "1.0", "tfp": "B2C_1", "scope": null, "scp": "read", "azp": "a"}),
            json!({"nbf": 1493763266}),
        ),
        (
            "AD FS",
            json!({"typ": "JWT", "x5t": "k1"}),
            json!({"apptype": "Public", "auth_time": "2027-01-15T07:00:00.000Z"}),
            json!({"x5t": "k1"}),
        ),
        (
            "SPIRE",
            jwt(),
            json!({"aud": [AUDIENCE], "sub": "spiffe://shop/web", "scope": null}),
            json!({"use": "jwt-svid", "alg": null}),
        ),
        ("HashiCorp Vault", json!({"typ": null}), json!({"namespace": "root", "scope": null, "jti": null}), none()),
        ("Logto", none(), json!({"client_id": "c", "organization_id": "o"}), none()),
        ("Kanidm", json!({"typ": null}), json!({"auth_time": null, "azp": "app", "scopes": ["openid"]}), none()),
        (
            "Rauthy",
            jwt(),
            json!({"typ": "Bearer", "azp": "app", "roles": ["admin"], "preferred_username": "ann"}),
            none(),
        ),
        (
            "Oracle Identity Cloud Service",
            json!({"typ": "JWT", "x5t": "x"}),
            json!({"tok_type": "AT", "sub_type": "user", "sub_mappingattr": "userName", "rt_jti": "r", "ca_guid": "c"}),
            json!({"key_ops": ["verify", "wrapKey", "encrypt"], "x5c": ["a", "b"]}),
        ),
        (
            "CAS",
            json!({"typ": "JWT", "client_id": "c", "org.apereo.cas.services.RegisteredService": "1"}),
            json!({"jti": "AT-1-x", "nonce": "", "state": "s", "credentialType": "c", "token_type": "Bearer", "scope": ["read"]}),
            none(),
        ),
        ("Shibboleth", none(), json!({"cl": ["sub"], "jti": "_x", "aud": [AUDIENCE]}), none()),
        ("MITREid Connect", json!({"typ": null}), json!({"azp": "client", "scope": null}), json!({"use": null})),
        (
            "Clerk",
            json!({"typ": "JWT", "cat": "cl_B7d4PD111AAA"}),
            json!({"fva": [0, -1], "o": {"id": "o"}, "sts": "active", "v": 2}),
            none(),
        ),
        (
            "Descope",
            jwt(),
            json!({"drn": "DS", "rexp": "2027-05-03T17:29:42Z", "permissions": [], "amr": ["oauth"]}),
            none(),
        ),
        (
            "SuperTokens",
            json!({"typ": "JWT", "version": "5"}),
            json!({"tId": "public", "sessionHandle": "h", "refreshTokenHash1": "x", "parentRefreshTokenHash1": null, "antiCsrfToken": null}),
            none(),
        ),
        ("Stytch", jwt(), json!({"https://stytch.com/session": {"id": "s"}, "scope": null}), none()),
        ("Gravitee", jwt(), json!({"domain": "d", "gis": "g"}), json!({"x5c": null, "x5t": null, "key_ops": null})),
        (
            "Teleport",
            json!({"typ": null}),
            json!({"aud": [AUDIENCE], "traits": {"a": ["b"]}, "username": "ann"}),
            none(),
        ),
        ("Buildkite", jwt(), json!({"sub": "organization:a:pipeline:b", "build_number": 1, "scope": null}), none()),
        (
            "Bitbucket Pipelines",
            jwt(),
            json!({
                "sub": "{b9b7}:{e3a1}:{51c0}", "workspaceUuid": "{f0ad}", "deploymentEnvironmentUuid": "{e3a1}", "stepUuid": "{51c0}",
                "repositoryUuid": "{b9b7}", "pipelineUuid": "{77aa}", "branchName": "main", "client_id": null, "scope": null, "jti": null,
            }),
            none(),
        ),
        (
            "CircleCI",
            jwt(),
            json!({
                "sub": "org/o/project/p/user/u/vcs-origin/v/vcs-ref/r", "oidc.circleci.com/context-ids": ["c"],
                "oidc.circleci.com/project-id": "p", "oidc.circleci.com/ssh-rerun": false, "client_id": null, "scope": null, "jti": null,
            }),
            none(),
        ),
        (
            "Vercel",
            jwt(),
            json!({
                "sub": "owner:a:project:b:environment:preview", "scope": "owner:a:project:b:environment:preview", "owner": "a",
                "owner_id": "team_x", "environment": "preview", "plan": "pro", "client_id": null, "jti": null,
            }),
            none(),
        ),
        (
            "Tailscale",
            jwt(),
            json!({
                "uid": 4, "nid": 5, "user": "ann@example.com", "node": "n.ts.net.", "tailnet": "t", "addresses": ["100.64.0.1/32"],
                "key": "nodekey:0b", "tags": null, "scope": null,
            }),
            none(),
        ),
        (
            "WorkOS",
            json!({"typ": null}),
            json!({
                "act": {"sub": "admin@example.com"}, "org_id": "org_01", "role": "member", "roles": ["member"], "entitlements": ["logs"],
                "permissions": ["posts:read"], "sid": "session_01", "feature_flags": [], "client_id": null, "scope": null,
            }),
            none(),
        ),
        (
            "Stytch, a machine",
            jwt(),
            json!({"aud": [AUDIENCE], "sub": "m2m-client-live-x", "scope": "read:users", "nbf": NOW - 60, "jti": null}),
            none(),
        ),
        (
            "Kinde",
            json!({"typ": "JWT"}),
            json!({
                "aud": [AUDIENCE], "azp": "c", "gty": ["client_credentials"], "org_code": "o", "permissions": [], "scp": [], "v": "2",
                "feature_flags": {"f": {"t": "b", "v": true}}, "scope": null,
            }),
            none(),
        ),
        (
            "Hanko",
            jwt(),
            json!({
                "aud": [AUDIENCE], "email": {"address": "ann@example.com", "is_primary": true, "is_verified": false}, "session_id": "s",
                "scope": null, "jti": null,
            }),
            none(),
        ),
        (
            "Frontegg",
            jwt(),
            json!({
                "email": "ann@example.com", "email_verified": true, "metadata": {}, "roles": ["Admin"], "tenantId": "t", "tenantIds": ["t"],
                "profilePictureUrl": null, "sid": "s", "type": "userToken", "applicationId": "a", "scope": null, "jti": null,
            }),
            none(),
        ),
        (
            "PropelAuth",
            json!({"typ": null}),
            json!({
                "user_id": "u", "org_id_to_org_member_info": {"o": {"org_metadata": {}, "user_role": "Owner"}}, "properties": {},
                "login_method": {"login_method": "password"}, "scope": null, "jti": null,
            }),
            none(),
        ),
        (
            "Apple",
            json!({"typ": null}),
            json!({
                "sub": "001234.a.1", "email_verified": "true", "is_private_email": "true", "nonce_supported": true, "real_user_status": 2,
                "auth_time": NOW - 60, "at_hash": "x", "client_id": null, "scope": null, "jti": null,
            }),
            json!({"alg": null}),
        ),
        (
            "LINE",
            jwt(),
            json!({"sub": "U0", "amr": ["linesso"], "name": "Ann", "picture": "https://example.com/a", "scope": null, "jti": null}),
            none(),
        ),
        (
            "Kakao",
            jwt(),
            json!({"sub": "123456789", "auth_time": NOW - 60, "nickname": "Ann", "picture": "https://example.com/a", "scope": null}),
            none(),
        ),
        (
            "Yahoo! JAPAN",
            jwt(),
            json!({"aud": [AUDIENCE], "auth_time": NOW - 60, "nonce": "n", "amr": ["pwd"], "at_hash": "x", "scope": null}),
            none(),
        ),
        (
            "Connect2id",
            json!({"typ": "at+jwt"}),
            json!({"scp": ["read"], "cid": "c", "uip": {"groups": ["a"]}, "clm": ["email"], "iat": null, "scope": null}),
            none(),
        ),
        (
            "Spring Authorization Server",
            json!({"typ": null}),
            json!({"aud": [AUDIENCE], "scope": ["read", "write"], "nbf": NOW - 60, "client_id": null}),
            json!({"use": null, "alg": null}),
        ),
        (
            "Laravel Passport",
            jwt(),
            json!({
                "sub": "1", "iat": NOW as f64 - 60.25, "nbf": NOW as f64 - 60.25, "exp": NOW as f64 + 3600.75, "scopes": ["read"],
                "client_id": null, "scope": null,
            }),
            none(),
        ),
        (
            "LemonLDAP::NG",
            json!({"typ": "at+JWT"}),
            json!({"sid": "s", "scope": "openid read", "aud": [AUDIENCE]}),
            json!({"x5c": [], "x5t": null}),
        ),
        (
            "OneLogin",
            json!({"typ": null}),
            json!({"params": {}, "ver": "1", "groups": "a;b", "scope": "openid"}),
            none(),
        ),
        (
            "JumpCloud",
            jwt(),
            json!({"scope": null, "scp": ["openid", "offline_access"], "ext": {"groups": null}, "aud": [AUDIENCE]}),
            none(),
        ),
        (
            "Duo",
            jwt(),
            json!({"auth_context": {"factor": "duo_push", "result": "allow"}, "preferred_username": "ann", "auth_result": {}}),
            none(),
        ),
        (
            "Rauthy, by its latest release",
            json!({"typ": "at+jwt"}),
            json!({"typ": "Bearer", "azp": "app", "allowed_origins": ["*"], "groups": null, "custom": {"a": 1}}),
            none(),
        ),
        (
            "AWS, outbound",
            json!({"typ": "JWT"}),
            json!({"https://sts.amazonaws.com/": {"aws_account": "1", "org_id": "o", "principal_tags": {}}, "scope": null}),
            none(),
        ),
        ("Azure DevOps", jwt(), json!({"sub": "sc://org/project/connection", "org_id": "o", "scope": null}), none()),
        (
            "Terraform Cloud",
            jwt(),
            json!({"sub": "organization:a", "terraform_run_phase": "apply", "scope": null}),
            none(),
        ),
        (
            "LibreGraph Connect",
            jwt(),
            json!({"lg.t": "1", "lg.i": {"id": "1", "un": "ann"}, "lg.p": "identifier-ldap", "scp": "openid email", "scope": null}),
            none(),
        ),
        (
            "Kopano Konnect",
            jwt(),
            json!({
                "kc.isAccessToken": true, "kc.authorizedScopes": ["openid"], "kc.identity": {"kc.i.id": "AAAA"}, "kc.provider": "kc",
                "scope": null, "client_id": null,
            }),
            none(),
        ),
        (
            "Maskinporten",
            json!({"typ": null}),
            json!({
                "client_amr": "virksomhetssertifikat", "token_type": "Bearer", "sub": null,
                "consumer": {"authority": "iso6523-actorid-upis", "ID": "0192:910753614"},
            }),
            none(),
        ),
        (
            "ID-porten",
            json!({"typ": null}),
            json!({"pid": "1", "client_orgno": "910753614", "acr": "idporten-loa-high", "token_type": "Bearer"}),
            none(),
        ),
        (
            "HelseID",
            json!({"typ": "at+jwt"}),
            json!({"scope": ["nhn:a/api"], "helseid://claims/client/claims/orgnr_parent": "1", "client_amr": "private_key_jwt"}),
            none(),
        ),
        (
            "NHS login",
            json!({"typ": "JWT"}),
            json!({"token_use": "access", "nhs_number": "1", "vot": "P9.Cp.Cd", "version": 0, "requesting_patient": "1"}),
            none(),
        ),
        (
            "INDIGO IAM, of WLCG",
            json!({"typ": null}),
            json!({"wlcg.ver": "1.0", "wlcg.groups": ["/cms"], "nbf": NOW - 60, "scope": "storage.read:/ openid"}),
            none(),
        ),
        ("SciTokens", jwt(), json!({"ver": "scitoken:2.0", "scope": "read:/data", "client_id": null}), none()),
        (
            "CILogon",
            jwt(),
            json!({"sub": "http://cilogon.org/serverA/users/1", "jti": "https://cilogon.org/oauth2/1", "auth_time": NOW - 60}),
            none(),
        ),
        (
            "EGI Check-in",
            jwt(),
            json!({"typ": "Bearer", "azp": "c", "acr": "https://aai.egi.eu/LoA#Substantial", "entitlements": ["urn:mace:egi.eu:a"]}),
            none(),
        ),
        (
            "IBM Cloud",
            json!({"typ": null}),
            json!({
                "iam_id": "IBMid-1", "account": {"valid": true, "bss": "b", "frozen": true}, "acr": 1, "amr": ["pwd"],
                "grant_type": "urn:ibm:params:oauth:grant-type:apikey", "scope": "ibm openid", "client_id": "default",
            }),
            none(),
        ),
        (
            "Azure, a managed identity",
            json!({"typ": "JWT", "x5t": "x"}),
            json!({
                "appid": "a", "appidacr": "2", "idtyp": "app", "ver": "1.0", "xms_mirid": "/subscriptions/1", "xms_idrel": "7 24",
                "rh": "1.A", "uti": "u", "scope": null, "client_id": null, "jti": null,
            }),
            none(),
        ),
        (
            "Supabase, as an authorization server",
            jwt(),
            json!({
                "role": "authenticated", "aal": "aal1", "amr": [{"method": "oauth_provider/authorization_code", "timestamp": NOW}],
                "is_anonymous": false, "phone": "", "app_metadata": {}, "user_metadata": {}, "scope": null, "jti": null,
            }),
            none(),
        ),
        ("Clerk, for applications", json!({"typ": "at+jwt"}), json!({"jti": "oat_1", "nbf": NOW - 60}), none()),
        (
            "Authgear",
            json!({"typ": "at+jwt"}),
            json!({"https://authgear.com/claims/user/is_anonymous": false, "https://authgear.com/claims/user/can_reauthenticate": true}),
            none(),
        ),
        ("Pocket ID", jwt(), json!({"type": "oauth-access-token", "scope": null, "client_id": null}), none()),
        (
            "OpenAuth",
            jwt(),
            json!({"mode": "access", "type": "user", "properties": {"id": "1"}, "scope": null, "client_id": null, "jti": null}),
            none(),
        ),
        (
            "Firebase App Check",
            jwt(),
            json!({"sub": "1:1:web:a", "aud": ["projects/1", AUDIENCE], "scope": null, "client_id": null}),
            none(),
        ),
        (
            "Atlassian Forge",
            json!({"typ": null}),
            json!({
                "app": {"id": "ari:cloud:ecosystem::app/1", "environment": {"type": "PRODUCTION"}}, "context": {}, "principal": "1",
                "sub": null, "scope": null, "client_id": null,
            }),
            none(),
        ),
        (
            "Spacelift",
            jwt(),
            json!({"spaceId": "root", "callerType": "stack", "runType": "TRACKED", "scope": "write", "client_id": null}),
            none(),
        ),
        (
            "Pulumi Cloud",
            jwt(),
            json!({"sub": "pulumi:deploy:org:a", "operation": "update", "scope": "write", "client_id": null, "jti": null}),
            none(),
        ),
        (
            "Riot Games",
            json!({"typ": "JWT"}),
            json!({"pp": {"c": "eu1"}, "scp": ["openid"], "clm": ["openid"], "dat": {"c": "ec1"}, "cid": "c", "scope": null}),
            none(),
        ),
        (
            "Epic Games",
            json!({"typ": null}),
            json!({"t": "epic_id", "pfsid": "s", "dn": "Ann", "appid": "a", "scope": "basic_profile", "client_id": null}),
            none(),
        ),
    ]
}

/// Their keys stand among others, as they do there: one for encryption with the same name, and one of an unknown type.
fn scene(key_change: Value) -> Scene {
    let mut scene = Scene::cold(jwt(json!({}), json!({})));
    let for_encryption = with(key("k2").jwk(), json!({"alg": "RSA-OAEP", "use": "enc", "kid": "k1"}));
    let unknown = json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA", "kid": "k3"});
    scene.provider.keys(&[for_encryption, unknown, with(key("k1").jwk(), key_change)]);
    scene
}

/// Good ones pass; what makes them somebody else's doesn't.
#[test]
fn tokens_of_providers_without_an_example() {
    for (provider, header, claims, key_change) in tokens() {
        println!("{provider}");
        let mut scene = scene(key_change);
        let mut sent =
            |change: Value| scene.send(bearer(&key("k1").token_with(header.clone(), with(claims.clone(), change))));
        sent(json!({})).allowed();
        sent(json!({"aud": "other"})).refused(401, "wrong_audience");
        sent(json!({"aud": []})).refused(401, "wrong_audience");
        sent(json!({"exp": NOW - 61})).refused(401, "expired");
        sent(json!({"nbf": NOW + 61})).refused(401, "not_yet_valid");
        sent(json!({"cnf": {"jkt": "x"}})).refused(401, "not_bound");
        sent(json!({"iss": format!("{ISSUER}/")})).refused(401, "unknown_issuer");
        let forged = key("k2").token_with(with(header.clone(), json!({"kid": "k1"})), claims.clone());
        scene.send(bearer(&forged)).refused(401, "bad_signature");
    }
}

/// What introspection answers there about a good token, beside or instead of what a usual answer has.
fn answers() -> Vec<(&'static str, Value)> {
    vec![
        (
            "Keycloak",
            json!({"typ": "Bearer", "token_type": "Bearer", "azp": "web", "allowed-origins": ["*"], "realm_access": {}}),
        ),
        ("PingFederate", json!({"client_id": "c", "scope": "read", "OrgName": "shop", "iss": null, "sub": null})),
        (
            "ForgeRock AM",
            json!({"realm": "/", "user_id": "ann", "token_type": "Bearer", "auth_level": 0, "expires_in": 3590}),
        ),
        (
            "WSO2 Identity Server",
            json!({"nbf": NOW, "aut": "APPLICATION_USER", "token_type": "Bearer", "username": "a@carbon.super"}),
        ),
        ("Duende IdentityServer", json!({"scope": "read", "amr": "pwd", "idp": "local", "aud": ["x", AUDIENCE]})),
        ("OpenIddict", json!({"token_type": "Bearer", "token_usage": "access_token", "jti": "j"})),
        (
            "Ory Hydra",
            json!({"aud": [AUDIENCE], "ext": {}, "token_type": "Bearer", "token_use": "access_token", "nbf": NOW}),
        ),
        ("Authelia", json!({"aud": [AUDIENCE], "client_id": "c", "username": "ann", "iat": NOW})),
        ("Casdoor", json!({"username": "admin", "token_type": "Bearer", "aud": [AUDIENCE], "jti": "admin/x"})),
        (
            "Janssen",
            json!({"acr_values": null, "jti": null, "nbf": null, "cnf": null, "scope": ["read"], "token_type": "Bearer"}),
        ),
        ("IBM Verify", json!({"token_type": "bearer", "grant_id": "g", "realmName": "cloudIdentityRealm"})),
        ("Salesforce", json!({"token_type": "access_token", "username": "ann@example.com", "nbf": NOW - 1})),
        (
            "Zitadel",
            json!({"aud": [AUDIENCE, "1"], "amr": ["password"], "urn:zitadel:iam:org:project:roles": {}, "locale": null}),
        ),
        ("Kanidm", json!({"token_type": "access_token", "username": "ann@idm", "jti": "j"})),
        ("Oracle Identity Cloud Service", json!({"token_type": "JWT", "sub_type": "user", "tok_type": "AT"})),
        (
            "CAS",
            json!({"tokenType": "Bearer", "realmName": "r", "uniqueSecurityName": "ann", "grant_type": "authorization_code"}),
        ),
        (
            "MITREid Connect",
            json!({"expires_at": "2027-01-15T09:00:00+0000", "user_id": "ann", "token_type": "Bearer"}),
        ),
        (
            "webMethods",
            json!({"exp": (NOW + 60).to_string(), "iat": NOW.to_string(), "token_type": "Bearer", "owner_id": "ann"}),
        ),
        ("Airlock IAM", json!({"scope": "read", "client_id": "c", "iat": NOW, "iss": null})),
        (
            "LinkedIn",
            json!({"exp": null, "expires_at": NOW + 60, "status": "active", "auth_type": "3L", "authorized_at": NOW}),
        ),
        (
            "Matrix Authentication Service",
            json!({"token_type": "access_token", "username": "ann", "device_id": "D", "scope": "urn:matrix:client:api:*", "nbf": NOW}),
        ),
        ("Doorkeeper", json!({"token_type": "Bearer", "client_id": "c", "iat": NOW, "iss": null, "sub": null})),
        (
            "django-allauth",
            json!({"aud": [AUDIENCE], "iat": NOW, "token_type": "access_token", "scope": "openid api", "client_id": "web"}),
        ),
        ("LemonLDAP::NG", json!({"client_id": "svc", "scope": "api"})),
        (
            "Authlib",
            json!({"aud": AUDIENCE, "client_id": "web", "iat": NOW, "scope": "api", "sub": "7", "token_type": "Bearer"}),
        ),
        (
            "Django OAuth Toolkit",
            json!({"scope": "read", "client_id": "c", "username": "ann", "iss": null, "sub": null}),
        ),
        (
            "Dex",
            json!({"token_type": "Bearer", "token_use": "access_token", "username": "ann", "extra": {"email_verified": true}}),
        ),
        ("Curity", json!({"purpose": "access_token", "delegationId": "d", "nbf": NOW, "token_type": "bearer"})),
        (
            "UAA",
            json!({"user_name": "ann", "cid": "c", "origin": "uaa", "rev_sig": "r", "revocable": true, "jti": "2f0c"}),
        ),
        (
            "Globus Auth",
            json!({"identity_set": ["1"], "name": null, "email": null, "session_info": {}, "token_type": "Bearer"}),
        ),
        ("INDIGO IAM", json!({"expires_at": "2027-01-15T09:00:00+0000", "user_id": "ann", "groups": ["a"]})),
        ("Rauthy", json!({"scope": "openid", "client_id": "c", "username": "ann@example.com", "cnf": null})),
        ("Gitea", json!({"scope": "openid", "username": "ann", "aud": [AUDIENCE], "jti": null, "nbf": null})),
        ("Shibboleth", json!({"token_type": "Bearer", "principal": "ann", "eppn": "ann@example.com", "nbf": NOW})),
        // What was asked about, and how that went.
        (
            "OpenAM",
            json!({
                "access_token": "opaque", "realm": "/", "cn": "ann", "scope": ["read"], "token_type": "Bearer", "expires_in": 577,
                "grant_type": "password", "sub": null,
            }),
        ),
        ("one with a code of its own", json!({"code": "0", "message": "ok", "user_id": "1", "sub": null})),
        ("SimpleSAMLphp", json!({"token_type": "Bearer", "client_id": "c", "scope": "openid", "jti": "j"})),
    ]
}

/// Good ones pass; what says that they are none, or somebody else's, doesn't.
#[test]
fn answers_of_providers_without_an_example() {
    for (provider, answer) in answers() {
        println!("{provider}");
        let told = |change: Value| {
            let mut scene = Scene::of(introspection(json!({}), json!({})));
            scene.provider.tokens.insert("opaque".to_owned(), active(with(answer.clone(), change)));
            scene.send(bearer("opaque"))
        };
        told(json!({})).allowed();
        told(json!({"active": false})).refused(401, "inactive");
        told(json!({"active": "true"})).refused(401, "inactive");
        told(json!({"aud": "other"})).refused(401, "wrong_audience");
        told(json!({"exp": NOW - 61})).refused(401, "expired");
        told(json!({"token_type": "refresh_token"})).refused(401, "wrong_type");
        told(json!({"cnf": {"x5t#S256": "x"}})).refused(401, "not_bound");
        told(json!({"iss": "https://other.example"})).refused(401, "unknown_issuer");
    }
}

/// The configuration that stands behind these words on the page of recipes.
fn recipe(words: &str) -> Scene {
    let page = include_str!("../../docs/providers.md");
    let (_, after) = page.split_once(words).unwrap();
    let text = after.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    Scene::cold(serde_json::from_str(text).unwrap())
}

/// docs/providers.md, "Behind another door": what Cloudflare, Google and AWS write into headers of their own.
#[test]
fn tokens_of_those_who_stand_before_envoy() {
    let keys = says_json(json!({"keys": [key("k1").jwk()], "public_certs": [{"kid": "k1", "cert": "x"}]}));
    let mut scene = recipe("## Behind another door");
    scene.provider.serve("https://shop.cloudflareaccess.com/cdn-cgi/access/certs", keys.clone());
    let claims = |change: Value| {
        let aud = "4714c1358e65fe4b408ad6d432a5f878f08194bdb4752441fd56faefa9b2b6f2";
        let iss = "https://shop.cloudflareaccess.com";
        let claims =
            json!({"iss": iss, "aud": [aud], "type": "app", "email": "ann@example.com", "identity_nonce": "n"});
        key("k1").token_with(json!({"typ": null}), with(claims, change))
    };
    let sent = |token: &str| get("/").header("cf-access-jwt-assertion", token);
    assert_eq!(scene.send(sent(&claims(json!({})))).allowed().header("x-email"), Some("ann@example.com"));
    scene.send(sent(&claims(json!({"aud": ["another application"]})))).refused(401, "wrong_audience");
    scene.send(get("/").header("x-email", "root@example.com")).refused(401, "missing_token");

    let mut scene = recipe("Google's Identity-Aware Proxy");
    scene.provider.serve("https://www.gstatic.com/iap/verify/public_key-jwk", keys);
    let aud = "/projects/1234567890/global/backendServices/9876543210";
    let claims =
        json!({"iss": "https://cloud.google.com/iap", "aud": aud, "sub": "accounts.google.com:1", "hd": "example.com"});
    let token = key("k1").token_with(json!({"typ": "JWT"}), claims);
    let sent = |token: &str| get("/").header("x-goog-iap-jwt-assertion", token);
    assert_eq!(scene.send(sent(&token)).allowed().header("x-user"), Some("accounts.google.com:1"));
    let padded = token.replace('.', "=.");
    scene.send(sent(&padded)).refused(401, "malformed_token");
}
