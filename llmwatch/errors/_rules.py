"""The rules of the error taxonomy: which provider code, class name, HTTP status or phrase means which kind of error."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from functools import lru_cache


class ErrorKind(enum.StrEnum):
    """Why a call failed, in one vocabulary for all providers (the values of the `error_type` label).

    * `rate_limit`: too many requests or tokens for now; waiting helps
    * `quota`: credit, budget or account limit is used up; waiting does not help
    * `timeout`: nobody answered in time, here or at the provider
    * `connection`: the provider was not reached, or the connection broke
    * `authentication`: the credentials are missing, wrong or expired
    * `permission`: the credentials are good, and may not do this (or not from there)
    * `not_found`: the model, deployment or object that the request names does not exist (any more)
    * `context_length`: prompt, or prompt and answer, are longer than the model takes
    * `content_filter`: the provider refused the content on policy grounds
    * `invalid_request`: the provider refused the request for another reason of the caller's making
    * `overloaded`: the provider has no capacity now (HTTP 503 by RFC 9110, 529 at Anthropic)
    * `server_error`: the provider failed
    * `other`: none of these, or nothing known
    """

    RATE_LIMIT = "rate_limit"
    QUOTA = "quota"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    AUTHENTICATION = "authentication"
    PERMISSION = "permission"
    NOT_FOUND = "not_found"
    CONTEXT_LENGTH = "context_length"
    CONTENT_FILTER = "content_filter"
    INVALID_REQUEST = "invalid_request"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    OTHER = "other"


# Vendors put these on everything of a kind ("invalid_request_error" on a 401), so anything more exact goes before them.
GENERIC = frozenset({ErrorKind.INVALID_REQUEST, ErrorKind.SERVER_ERROR})

_SEPARATORS = str.maketrans("", "", " _-.")


@lru_cache(maxsize=1024)
def normalise(word: str) -> str:
    """The one spelling of a code or class name: `RateLimitError`, `rate_limit_error`, `RATE-LIMIT` are `ratelimit`.

    Of `com.amazon.coral.service#AccessDeniedException` and `ValidationException:http://…` (AWS) the name is taken.
    """
    bare = word.rpartition("#")[2].partition(":")[0]
    return bare.translate(_SEPARATORS).lower().removesuffix("exception").removesuffix("error")


def _words(groups: Mapping[ErrorKind, str]) -> dict[str, ErrorKind]:
    return {word: kind for kind, words in groups.items() for word in words.split()}


CODES = _words(
    {
        ErrorKind.RATE_LIMIT: """
            ratelimit ratelimited ratelimitexceeded ratelimitreached routerratelimit toomanyrequests resourceexhausted
            throttling throttled throttlingratequota throttlingallocationquota throttlingburstrate limitrequests
            limitburstrate requestlimitexceeded provisionedthroughputexceeded""",
        ErrorKind.QUOTA: """
            insufficientquota quotaexceeded exceededcurrentquota servicequotaexceeded tokenquotareached billing
            billinghardlimitreached billingnotactive insufficientbalance insufficientcredits insufficientfunds
            paymentrequired creditlimit budgetexceeded arrearage freequotaexhausted allocationquotafreetieronly""",
        ErrorKind.TIMEOUT: """
            timeout apitimeout requesttimeout gatewaytimeout modeltimeout deadlineexceeded inferencetimeout""",
        ErrorKind.AUTHENTICATION: """
            authentication unauthenticated unauthorized invalidapikey apikeyinvalid apikeyexpired incorrectapikey
            credentialsmissing accesstokenexpired accountdeactivated invalidorganization invalidtoken expiredtoken
            requestexpired unrecognizedclient invalidclienttokenid invalidaccesskeyid missingauthenticationtoken
            invalidsignature signaturedoesnotmatch incompletesignature authfailure authenticationtokenexpired
            authenticationtokennotvalid""",
        ErrorKind.PERMISSION: """
            permission permissiondenied forbidden accessdenied modelaccessdenied notauthorized unauthorizedoperation
            optinrequired servicedisabled apikeyserviceblocked unsupportedcountryregionterritory ipnotauthorized
            authorizationrejected organizationrestricted""",
        ErrorKind.NOT_FOUND: """
            notfound modelnotfound resourcenotfound deploymentnotfound previousresponsenotfound invalidmodel
            unknownmodel modelnotsupported modelnotavailable modeldecommissioned unavailablemodel""",
        ErrorKind.CONTEXT_LENGTH: """
            contextlengthexceeded contextwindowexceeded exceedcontextsize tokenslimitreached maxtokensperrequest
            lengthfinishreason""",
        ErrorKind.CONTENT_FILTER: """
            contentfilter contentpolicyviolation responsibleaipolicyviolation moderationblocked contentfiltered
            datainspectionfailed contentfilterfinishreason imagecontentpolicyviolation blockedprompt stopcandidate""",
        ErrorKind.INVALID_REQUEST: """
            invalidrequest badrequest invalidargument invalidparameter invalidprompt validation paramvalidation
            httpvalidation failedprecondition outofrange alreadyexists conflict requesttoolarge contenttoolarge
            unprocessableentity""",
        ErrorKind.OVERLOADED: """
            overloaded engineoverloaded serveroverloaded serverisoverloaded serviceunavailable unavailable slowdown
            modelnotready capacityexceeded nocapacity""",
        ErrorKind.SERVER_ERROR: """
            server api internal internalserver internalfailure unknown aborted dataloss unimplemented badgateway model
            modelstream generation incompletegeneration apiresponsevalidation""",
    }
)

# As the name of a class these are a base class, or somebody else's (pydantic's ValidationError).
_NOT_AS_CLASS = frozenset({"api", "validation", "model", "unknown", "internal", "generation"})

_TRANSPORT = _words(
    {
        ErrorKind.TIMEOUT: """
            connecttimeout readtimeout writetimeout pooltimeout servertimeout sockettimeout connectiontimeout
            tooslow""",
        ErrorKind.CONNECTION: """
            connection apiconnection connect read write close network transport protocol remoteprotocol localprotocol
            proxy proxyconnection ssl gai clientconnection clientconnector clientos clientpayload
            serverdisconnected serverconnection connectionclosed endpointconnection httpclient responsestreaming
            incompleteread chunkedencoding newconnection maxretry nameresolution brokenresource noresponse""",
        ErrorKind.AUTHENTICATION: """
            nocredentials partialcredentials credentialretrieval tokenretrieval unauthorizedssotoken ssotokenload
            defaultcredentials refresh""",
    }
)

CLASSES = {name: kind for name, kind in CODES.items() if name not in _NOT_AS_CLASS} | _TRANSPORT

_STATUSES = {
    401: ErrorKind.AUTHENTICATION,
    402: ErrorKind.QUOTA,
    403: ErrorKind.PERMISSION,
    404: ErrorKind.NOT_FOUND,
    408: ErrorKind.TIMEOUT,
    410: ErrorKind.NOT_FOUND,
    424: ErrorKind.SERVER_ERROR,  # Bedrock: the model behind the service failed
    429: ErrorKind.RATE_LIMIT,
    451: ErrorKind.PERMISSION,
    498: ErrorKind.OVERLOADED,  # Groq: no flex capacity
    499: ErrorKind.OTHER,  # the client went away (nginx, Google)
    503: ErrorKind.OVERLOADED,
    504: ErrorKind.TIMEOUT,
    522: ErrorKind.TIMEOUT,  # Cloudflare, as 524
    524: ErrorKind.TIMEOUT,
    529: ErrorKind.OVERLOADED,
}
_CLASSES_OF_STATUS = {4: ErrorKind.INVALID_REQUEST, 5: ErrorKind.SERVER_ERROR}


def is_error_status(status: int) -> bool:
    """Whether it is the status of a failed HTTP call (4xx, 5xx)."""
    return status // 100 in _CLASSES_OF_STATUS


def kind_of_status(status: int | None) -> ErrorKind | None:
    """What an HTTP status says; below 400 (a stream that failed after its 200) nothing."""
    if status is None:
        return None
    return _STATUSES.get(status) or _CLASSES_OF_STATUS.get(status // 100)


def class_name_kind(name: str) -> ErrorKind | None:
    """What the name of an exception class says, if anything."""
    return CLASSES.get(normalise(name))
