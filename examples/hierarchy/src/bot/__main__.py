"""`python -m bot QUESTION` prints the answer."""

import argparse
from datetime import datetime

from bot import answer

parser = argparse.ArgumentParser(prog="bot", description="answer a customer's question")
parser.add_argument("question")
print(answer(parser.parse_args().question, datetime.now()))
