"""The pre-training comparison: summaries of rates."""
from benchmarks.pretraining import speed


def test_pretraining_counts_no_padding(capsys):
    def answers(*seconds):
        return [{'seconds': value, 'tokens': 600, 'padded': 800, 'memory': value * 1e9}
                for value in seconds]
    contenders = speed.OURS, *speed.PEERS[:2]
    summary = speed.summarize(
        dict(zip(contenders, (answers(1, 2, 3), answers(2, 2, 2), answers(4, 2, 2)))))
    assert summary[contenders[0]]['tokens_per_second'] == {'median': 300, 'min': 200, 'max': 600}
    assert summary[contenders[1]]['ours_over_it'] == {'median': 1, 'min': 2 / 3, 'max': 2}
    assert summary[contenders[2]]['ours_over_it'] == {'median': 1, 'min': 2 / 3, 'max': 4}
    assert summary[contenders[0]]['padding'] == 0.25
    assert summary[contenders[0]]['memory'] == 3e9
    speed.print_table({'MiniLM': summary})
    assert capsys.readouterr().out.splitlines()[2].split()[-2:] == ['3.0', 'GB']
