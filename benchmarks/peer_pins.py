"""The releases that the peers' environments hold."""

# {environment: what pip installs into it}; each lives in <repository>/.venv-<environment>
PINS = {
    'peer': ('torch==2.13.0', 'transformers==5.23.0', 'numpy==2.4.6', 'safetensors==0.8.0',
             'scikit-learn==1.9.1', 'scipy==1.17.1'),
    # the newest of sentence-transformers that takes ONNX Runtime and OpenVINO in one environment
    'peer-embedding': ('sentence-transformers[onnx,openvino]==5.2.0', 'torch==2.13.0',
                       'transformers==4.57.6', 'optimum==2.1.0', 'optimum-onnx==0.1.0',
                       'optimum-intel==1.27.0', 'onnxruntime==1.31.1', 'openvino==2026.4.1',
                       'onnx==1.23.2', 'numpy==2.4.6'),
    'peer-ranking': ('sentence-transformers==6.2.0', 'torch==2.13.0', 'transformers==5.24.0',
                     'numpy==2.4.6', 'safetensors==0.8.0'),
    # the runtimes for exported models
    'peer-inference': ('torch==2.13.0', 'transformers==5.23.0', 'numpy==2.4.6',
                       'safetensors==0.8.0', 'onnxruntime==1.31.1', 'openvino==2026.4.1',
                       'nncf==3.4.0', 'onnx==1.23.2'),
    # a library, not a package: its headers, and code for all CPUs since SSE 4.1
    'peer-onednn': ('onednn-cpu-gomp==2023.2.0', 'onednn-devel-cpu-gomp==2023.2.0'),
    # the last release with MXNet of the successor to the tool of seed 004; its numpy installs on
    # Python 3.11 and older only
    'peer-tuning': ('neural-compressor==2.6', 'mxnet==1.9.1', 'numpy==1.23.5', 'packaging==24.2',
                    'setuptools==75.8.0', 'six==1.17.0'),
    # the last series with WordPiece written in Python, which owes nothing to `tokenizers`
    'peer-tokenizer': ('transformers==4.57.6', 'numpy==2.4.6'),
    # the small server; sentence-transformers and its backends as in peer-embedding
    'peer-serving': ('sentence-transformers[onnx,openvino]==5.2.0', 'torch==2.13.0',
                     'transformers==4.57.6', 'optimum==2.1.0', 'optimum-onnx==0.1.0',
                     'optimum-intel==1.27.0', 'onnxruntime==1.31.1', 'openvino==2026.4.1',
                     'onnx==1.23.2', 'numpy==2.4.6', 'fastapi==0.165.0', 'uvicorn==0.54.0',
                     'httptools==0.9.0', 'uvloop==0.23.0', 'orjson==3.13.0', 'pydantic==2.14.4'),
    # on Python 3.11, for its numpy; it takes no later uvicorn and sentence-transformers
    'peer-infinity': ('infinity-emb[server,torch,optimum]==0.0.78', 'torch==2.14.1',
                      'transformers==4.57.6', 'sentence-transformers==3.4.1', 'optimum==2.1.0',
                      'optimum-onnx==0.1.0', 'onnxruntime==1.32.0', 'onnx==1.23.2',
                      'numpy==1.26.4', 'fastapi==0.165.0', 'uvicorn==0.32.1', 'uvloop==0.23.0',
                      'httptools==0.9.0', 'orjson==3.13.0', 'pydantic==2.14.4'),
}
