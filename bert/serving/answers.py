"""The bodies of answers, as OpenAPI describes them. The routes write them without these classes."""
import typing

from pydantic import BaseModel, ConfigDict, create_model

from bert.pipelines.records import EntitySpan, ExtractedAnswer, FilledMask, TokenTag

Vector = list[float]


def _model_of(record):
    """The pydantic model of a record's fields: in JSON it is an object."""
    return create_model(record.__name__, __doc__=record.__doc__, **{
        name: (kind, ...) for name, kind in typing.get_type_hints(record).items()})


class CutText(BaseModel):
    """A text that was cut."""
    index: int
    tokens: int
    kept: int


class AnswerWithCuts(BaseModel):
    """An answer that says which texts were cut, if any were."""
    model_config = ConfigDict(protected_namespaces=())
    truncated: list[CutText] | None = None


# OpenAI's

class OpenAiVector(BaseModel):
    object: typing.Literal['embedding']
    index: int
    embedding: Vector | str     # str: float32 in base64


class OpenAiUsage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class OpenAiVectors(AnswerWithCuts):
    object: typing.Literal['list']
    model: str
    data: list[OpenAiVector]
    usage: OpenAiUsage


class OpenAiModel(BaseModel):
    id: str
    object: typing.Literal['model']
    created: int
    owned_by: str
    kind: str
    max_tokens: int
    reads_pairs: bool | None
    labels: list[str] | None
    mask_token: str | None = None
    threshold: float | None = None


class OpenAiModels(BaseModel):
    object: typing.Literal['list']
    data: list[OpenAiModel]


# Labels and rankings

class LabelScore(BaseModel):
    label: str
    score: float


class RankedText(BaseModel):
    index: int
    score: float
    text: str | None = None


class CohereDocument(BaseModel):
    text: str


class CohereResult(BaseModel):
    index: int
    relevance_score: float
    document: CohereDocument | None = None


class CohereUsage(BaseModel):
    total_tokens: int


class CohereRanking(AnswerWithCuts):
    model: str
    results: list[CohereResult]
    usage: CohereUsage


# Places in texts: characters (Unicode code points)

class Answers(AnswerWithCuts):
    answer: str
    no_answer: bool
    no_answer_probability: float | None
    answers: list[_model_of(ExtractedAnswer)]


class Entities(BaseModel):
    """The entities of each text; with the aggregation "none" the tags of its tokens."""
    entities: list[list[_model_of(EntitySpan) | _model_of(TokenTag)]]


class MaskWords(BaseModel):
    """A mask: text[start:end]. words: likeliest first."""
    start: int
    end: int
    words: list[_model_of(FilledMask)]


class FilledTexts(AnswerWithCuts):
    """replaced_targets: {target that is no token: the token in its place}, if there are any."""
    masks: list[list[MaskWords]]
    replaced_targets: dict[str, str] | None = None


class Token(BaseModel):
    """A token. start, stop: of text[start:stop]; None for a special token."""
    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


# The Open Inference Protocol

class ProtocolTensor(BaseModel):
    name: str
    datatype: str
    shape: list[int]


class ProtocolOutput(ProtocolTensor):
    data: list[float | int | str]


class ProtocolParameters(BaseModel):
    truncated: list[CutText]


class ProtocolAnswer(BaseModel):
    model_config = ConfigDict(protected_namespaces=())
    model_name: str
    model_version: str
    outputs: list[ProtocolOutput]
    id: str | None = None
    parameters: ProtocolParameters | None = None


class ProtocolModelMetadata(BaseModel):
    name: str
    versions: list[str]
    platform: str
    inputs: list[ProtocolTensor]
    outputs: list[ProtocolTensor]


class ProtocolServer(BaseModel):
    name: str
    version: str
    extensions: list[str]


class ProtocolLive(BaseModel):
    live: bool


class ProtocolReady(BaseModel):
    ready: bool


class ProtocolModelReady(ProtocolReady):
    name: str


# Operation

class Info(BaseModel):
    """The fields of text-embeddings-inference."""
    model_config = ConfigDict(protected_namespaces=())
    model_id: str
    model_sha: None
    model_dtype: str
    served_model_name: str
    model_type: dict[str, dict]
    max_input_length: int
    max_client_batch_size: int
    auto_truncate: bool
    max_batch_tokens: int
    max_batch_requests: None
    max_concurrent_requests: None
    payload_limit: int
    tokenization_workers: int
    version: str


class Health(BaseModel):
    status: typing.Literal['ok']


class ReloadedModel(BaseModel):
    model: str
    created: int
