"""Exports of models on the hub, made once and kept in our cache: what deploy.py runs."""
import importlib
import logging
import os

from bert import file_names, files
from bert.export.runtimes import ONNX_RUNTIMES
from bert.flags.exporting import ExportOnnxOptions, ExportOptions
from bert.flags.options import make_options
from bert.train.log import close_log

# With a number: exports of before had no kinds for rerankers and several labels
EXPORTS_FOLDER = 'exports-2'
LOG = logging.getLogger(__name__)


def exported_folder(name, engine, threads):
    """The folder with the export of a model on the hub, `name` with its commit: ONNX for an engine
    in `ONNX_RUNTIMES`, else a symbol. The first call exports it. Another path is returned as it is.
    Raises `UserError`."""
    if os.path.exists(name) or '@' not in name:
        return name
    is_onnx = engine in ONNX_RUNTIMES
    folder = os.path.join(files.cache_dir(), EXPORTS_FOLDER, name.replace('/', '--'),
                          'onnx' if is_onnx else 'symbol')
    if not os.path.exists(os.path.join(folder, file_names.RESULTS_FILE)):
        LOG.warning('%s: the model is exported first, into %s', name, folder)
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        # imports onnx, which nobody needs who runs an export that is there
        serving_folder = importlib.import_module('bert.jobs.exporting.serving_folder')
        options_class, export = (ExportOnnxOptions, serving_folder.export_onnx) if is_onnx else \
            (ExportOptions, serving_folder.export_symbol)
        try:
            export(*make_options(options_class, {'model_dir': name, 'output_dir': folder,
                                                 'threads': threads}))
        finally:
            close_log()
    return folder
