# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an answer is one that the engine gives at temperature 0, up to words that are as good as equally likely."""

import math

# The token with which the lab's model ends an answer.
END = "<|im_end|>"
# Nats by which another token may be likelier than that of an answer. What is computed beside a request, and what of it
# comes from the prefix cache, changes the order in which numbers are added up, and with it which of two such tokens
# is taken. With weights in bfloat16 many are level: after "The 2020 World Series was played in" the lab's model gives
# " the" and " Los" both -2.142. How far apart two tokens are at the same place moved by up to 0.625 with one to eight
# requests side by side, before and after a restart: of 5,890 pairs less than 1 apart, the largest five.
TIE = 0.75


def gap(follow, text):
    """By how many nats, at most, the engine of its own accord would have liked another token better in an answer.

    :param follow: function from the beginning of an answer to what the engine goes on with, a list of places as in a
        choice's logprobs.content, the last of them END where it ends the answer
    :param text: the answer, with END if the engine has ended it
    :return: infinity if none of the likeliest tokens of a place goes on with the text
    """
    taken, most = "", 0.0
    while taken != text:
        places = follow(taken)
        if not places:
            return math.inf
        for place in places:
            fitting = [each for each in place.top_logprobs if each.token and text.startswith(taken + each.token)]
            if not fitting:
                return math.inf
            best = max(fitting, key=lambda each: each.logprob)
            most = max(most, place.logprob - best.logprob)
            taken += best.token
            if taken == text or best.token != place.token:
                break
    return round(most, 3)
