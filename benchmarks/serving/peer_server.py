"""A small server of vectors: FastAPI in front of sentence-transformers, as many write it.

One thread computes, with what waits, up to a batch at a time; sentence-transformers sorts by
length. Runs in the environment peer-serving and knows nothing of `bert`.
"""
import argparse
import asyncio
import os
import queue
import threading

import torch
import uvicorn
from fastapi import FastAPI
from fastapi.responses import ORJSONResponse
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

BATCH_SIZE = 32         # the default of sentence-transformers
MAX_WAITING = 2 * BATCH_SIZE    # texts that are taken at once, to be sorted by length


class Body(BaseModel):
    input: str | list[str]
    model: str | None = None


class Computer:
    """The computing thread."""

    def __init__(self, model):
        self._model, self._queue = model, queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    async def encode(self, texts):
        future = asyncio.get_running_loop().create_future()
        self._queue.put((texts, future))
        return await future

    def _run(self):
        while True:
            requests = [self._queue.get()]
            while not self._queue.empty() and sum(len(r[0]) for r in requests) < MAX_WAITING:
                requests.append(self._queue.get())
            vectors = self._model.encode([text for texts, _ in requests for text in texts],
                                         batch_size=BATCH_SIZE, show_progress_bar=False)
            start = 0
            for texts, future in requests:
                rows = vectors[start:start + len(texts)]
                start += len(texts)
                future.get_loop().call_soon_threadsafe(future.set_result, rows)


def load_model(folder, way, threads):
    """way: 'openvino', or a dtype of PyTorch."""
    if way == 'openvino':
        return SentenceTransformer(folder, backend='openvino', device='cpu', model_kwargs={
            'ov_config': {'INFERENCE_NUM_THREADS': str(threads)}})
    return SentenceTransformer(folder, device='cpu',
                               model_kwargs={'torch_dtype': getattr(torch, way)})


def make_application(computer):
    app = FastAPI()

    @app.post('/embeddings')
    async def embeddings(body: Body):
        texts = [body.input] if isinstance(body.input, str) else body.input
        vectors = await computer.encode(texts)
        return ORJSONResponse({'object': 'list', 'model': body.model, 'data': [
            {'object': 'embedding', 'index': i, 'embedding': row.tolist()}
            for i, row in enumerate(vectors)]})
    return app


def main():
    parser = argparse.ArgumentParser(description='server of the serving benchmarks')
    parser.add_argument('folder')
    parser.add_argument('--way', default='float32')
    parser.add_argument('--port', type=int, required=True)
    args = parser.parse_args()
    threads = int(os.environ['OMP_NUM_THREADS'])
    torch.set_num_threads(threads)
    model = load_model(args.folder, args.way, threads)
    model.encode(['warm-up'])
    uvicorn.run(make_application(Computer(model)), port=args.port)


if __name__ == '__main__':
    main()
