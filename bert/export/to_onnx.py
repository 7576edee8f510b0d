"""Export a fine-tuned BERT as an ONNX file with dynamic batch size and length."""
from bert import jobs
from bert.errors import run_script
from bert.flags.exporting import ExportOnnxOptions as OPTIONS
from bert.flags.options import parse


def main(arguments=None):
    return jobs.export_onnx(*parse(OPTIONS, __doc__, arguments)).exit_status


if __name__ == '__main__':
    run_script(main)
