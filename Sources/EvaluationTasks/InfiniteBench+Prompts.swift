extension InfiniteBench {
  /// Prompts of our own in the form that InfiniteBench documents. Scores with them compare with each other; for others'
  /// numbers give their templates: fields are `{context}`, `{input}`, `{question}`, `{OPTION_A}` to `{OPTION_D}`,
  /// `{func}`, `{func_call}` and `{prefix}`.
  public static let prompts = PromptTemplates([
    "passkey": "A pass key is hidden in this text. Find it and remember it.\n\n{context}\n\n{input}\n\nThe pass key is",
    "number_string": """
    A sequence of digits is hidden in this text. Find it and remember it.

    {context}

    {input}

    The sequence of digits is
    """,
    "kv_retrieval": "Find the value of one key of this JSON object.\n\n{context}\n\n{input}",
    "longbook_sum_eng": "Read this book and summarize it.\n\n{context}\n\nSummary:",
    "longbook_qa_eng": "Read this book and answer the question briefly.\n\n{context}\n\nQuestion: {question}\nAnswer:",
    "longbook_choice_eng": """
    Read this book and choose the right answer to the question.

    {context}

    Question: {question}
    A. {OPTION_A}
    B. {OPTION_B}
    C. {OPTION_C}
    D. {OPTION_D}

    The letter of the right answer is
    """,
    "longdialogue_qa_eng": """
    In this dialogue one name of a character is replaced with "$$MASK$$".

    {context}

    The name that belongs in the place of "$$MASK$$" is
    """,
    "longbook_qa_chn": "请阅读这本书并回答问题。\n\n{context}\n\n问题：{question}\n回答：",
    "code_debug": """
    One function of this Python code has an error that was put in on purpose.

    {context}

    Which function is it?
    A. {OPTION_A}
    B. {OPTION_B}
    C. {OPTION_C}
    D. {OPTION_D}

    The correct option is:
    """,
    "code_run": "This Python code has a function {func}.\n\n{context}\n\nThe value of {func_call} is",
    "math_calc": """
    Write the value of the expression after every term.

    Expression: 2 + 5 - 3
    Values: [2, 7, 4]

    Expression: {context}
    Values:
    """,
    "math_find": "{prefix}\n\n{context}\n\n{input}",
  ])
}
