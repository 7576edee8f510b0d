"""Our side of first_answer.py: opens a model and prints its first result."""
import sys

import bert

TEXT, QUESTION = 'A film of quiet wonder .', 'What is it ?'

if __name__ == '__main__':
    kind, folder = sys.argv[1:]
    model = bert.open(folder)
    if kind == 'answer':
        result = model(QUESTION, TEXT).answer
    else:
        result = model(TEXT) if kind == 'label' else model([TEXT])[0][:2]
    print('result:', result, flush=True)
