"""Our side of first_answer.py: opens a model and prints its first result."""
import sys

import bert

if __name__ == '__main__':
    kind, folder, text, question = sys.argv[1:]
    model = bert.open(folder)
    if kind == 'answer':
        result = model(question, text).answer
    else:
        result = model(text) if kind == 'label' else model([text])[0][:2]
    print('result:', result, flush=True)
