"""The bodies of requests, as pydantic reads them and OpenAPI describes them."""
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, Tag

from bert.flags.token_classification import AGGREGATIONS, FIRST
from bert.pipelines.mask_filling import TOP_K

MAX_NAME = 500      # characters of a model's name, a tensor's, a prompt's …
MAX_TOP = 1000      # words of a mask, answers to a question
Name = Annotated[str, Field(max_length=MAX_NAME)]


class _FirstProblem(FailFast):
    """Ends a list at its first problem: a million of them would need gigabytes. FailFast itself
    has no hash, which Python 3.10 to 3.12 need to put it into a union."""
    __hash__ = object.__hash__


# Alternatives have names in words, with spaces: `body_problems` says them to the client
Text = Annotated[str, Tag('a text')]
Strings = Annotated[list[str], _FirstProblem(), Tag('a list of texts')]
TokenIds = Annotated[list[int], _FirstProblem(), Tag('a list of token ids')]
Texts = Annotated[
    Text | TokenIds | Annotated[list[Text | TokenIds], _FirstProblem(), Tag('a list of texts')],
    Field(description='a text or a list of texts; token ids may replace a text')]
PlainTexts = Annotated[Text | Strings, Field(description='a text or a list of texts')]
ModelName = Annotated[str | None, Field(
    None, max_length=MAX_NAME,
    description='name of the model; default: the first model that can do this')]
Truncate = Annotated[bool | None, Field(
    None, description='cut texts that are too long; default: the setting of the server')]
Direction = Annotated[Literal['right', 'left', 'Right', 'Left'], Field(
    'right', description='side at which texts are cut: "right" is the end, "left" the beginning')]


def is_from_end(body):
    """Whether the texts of a body are cut at their end."""
    return body.truncation_direction.lower() == 'right'


class Body(BaseModel):
    """Values of other types are refused, not converted. Unknown keys are ignored, as by other
    servers."""
    model_config = ConfigDict(strict=True, protected_namespaces=())


class Request(Body):
    """A request to a model."""
    model: ModelName
    truncate: Truncate


class OwnTaskRequest(Request):
    """The body is that of the route for the kind of the model."""
    model_config = ConfigDict(extra='allow')


class EmbedAllRequest(Request):
    inputs: Texts
    truncation_direction: Direction
    prompt_name: str | None = Field(None, max_length=MAX_NAME,
                                    description='name of a prompt of the model')
    dimensions: int | None = Field(None, description='number of dimensions to keep of each vector')


class EmbedRequest(EmbedAllRequest):
    normalize: bool = Field(True, description='scale vectors to length 1')


class RerankRequest(Request):
    query: str
    texts: Strings
    truncation_direction: Direction
    raw_scores: bool = Field(False, description='scores are raw outputs, without a sigmoid')
    return_text: bool = False


class CohereRerankRequest(Request):
    query: str
    documents: Strings
    top_n: int | None = Field(None, ge=1, description='maximum number of documents')
    return_documents: bool = False


class PredictRequest(Request):
    inputs: Text | Strings | Annotated[list[Strings], _FirstProblem(),
                                       Tag('a list of lists of texts')] = Field(
        description='a text, a list of two texts as a pair, or a batch: a list of lists of one '
                    'text or two')
    truncation_direction: Direction
    raw_scores: bool = Field(False, description='scores are raw outputs, not probabilities')


class SimilarityInputs(Body):
    source_sentence: str
    sentences: Strings


class SimilarityParameters(Body):
    truncate: Truncate
    truncation_direction: Direction
    prompt_name: Name | None = None


class SimilarityRequest(Body):
    model: ModelName
    inputs: SimilarityInputs
    parameters: SimilarityParameters | None = None


class TokenizeRequest(Body):
    model: ModelName
    inputs: PlainTexts
    add_special_tokens: bool = True
    prompt_name: Name | None = None


class DecodeRequest(Body):
    model: ModelName
    ids: TokenIds | Annotated[list[TokenIds], _FirstProblem(),
                              Tag('a list of lists of token ids')]
    skip_special_tokens: bool = True


class OpenAiEmbeddingRequest(Request):
    input: Texts
    model: str = Field(max_length=MAX_NAME, description='name of the model')
    encoding_format: Literal['float', 'base64'] = 'float'
    dimensions: int | None = Field(None, description='number of dimensions to keep of each vector')
    user: str | None = None


class AnswerRequest(Request):
    question: str
    documents: PlainTexts
    top_k: int = Field(3, ge=1, le=MAX_TOP, description='maximum number of answers')


class EntitiesRequest(Request):
    inputs: PlainTexts
    aggregation: Literal[AGGREGATIONS] = Field(FIRST, description='how tokens become entities')


class FillRequest(Request):
    inputs: PlainTexts
    top_k: int = Field(TOP_K, ge=1, le=MAX_TOP, description='number of words for each mask')
    targets: Strings | None = Field(None, description='consider only these words')


class InferenceInput(Body):
    name: Name
    shape: Annotated[list[Annotated[int, Field(ge=0)]], _FirstProblem(), Field(max_length=8)]
    datatype: Name
    data: list = Field(description='values, flat or nested, row by row')
    parameters: dict | None = None


class RequestedOutput(Body):
    name: Name
    parameters: dict | None = None


class InferenceRequest(Body):
    id: str | None = None
    parameters: dict | None = None
    inputs: Annotated[list[InferenceInput], _FirstProblem()]
    outputs: Annotated[list[RequestedOutput], _FirstProblem()] | None = None


class ReloadRequest(Body):
    model: ModelName
