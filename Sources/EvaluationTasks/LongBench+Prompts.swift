extension LongBench {
  /// Prompts of our own in the form that LongBench documents: an instruction, the context, the instruction or question,
  /// and what the answer follows. Scores with them compare with each other, not with published ones; for those, give
  /// the published `dataset2prompt.json`.
  public static let prompts = PromptTemplates([
    "narrativeqa": question("Read this story", "Story"),
    "qasper": """
    Read this scientific article and answer the question about it with a phrase or a sentence. Answer "yes" or "no" \
    where that is asked, and "unanswerable" where the article does not say.

    Article: {context}

    Question: {input}
    Answer:
    """,
    "multifieldqa_en": question("Read this text", "Text"),
    "multifieldqa_zh": "请阅读下面的文字。\n\n{context}\n\n请根据文字用中文简短回答问题，只写答案。\n\n问题：{input}\n回答：",
    "hotpotqa": passages, "2wikimqa": passages, "musique": passages,
    "dureader": "请阅读下面的文章。\n\n{context}\n\n请根据文章回答问题。\n\n问题：{input}\n回答：",
    "gov_report": summary("report"),
    "qmsum": """
    Read this transcript of a meeting.

    {context}

    Answer this query about the meeting in a few sentences.

    Query: {input}
    Answer:
    """,
    "multi_news": summary("news"),
    "vcsum": "请阅读下面的会议记录。\n\n{context}\n\n请总结会议的内容。\n\n总结：",
    "trec": "Name the type of the last question, as the examples do.\n\n{context}\n{input}",
    "triviaqa": "Answer the last question from its passage, as the examples do.\n\n{context}\n\n{input}",
    "samsum": "Summarize the last dialogue in a few sentences, as the examples do.\n\n{context}\n\n{input}",
    "lsht": "请仿照例子判断最后一条新闻的类别。\n\n{context}\n{input}",
    "passage_count": """
    Some of these paragraphs occur more than once. Count the paragraphs that are different.

    {context}

    Answer with the number alone.

    Number of different paragraphs:
    """,
    "passage_retrieval_en": """
    Read these numbered paragraphs.

    {context}

    This is a summary of one of them:

    {input}

    Answer with its name alone, such as "Paragraph 1".

    Answer:
    """,
    "passage_retrieval_zh": "请阅读下面编了号的段落。\n\n{context}\n\n下面是其中一个段落的摘要：\n\n{input}\n\n请只写出该段落的编号，例如\"段落1\"。\n\n回答：",
    "lcc": "Continue this code with its next line.\n{context}Next line:\n",
    "repobench-p": "Continue this code with its next line.\n{context}{input}Next line:\n",
  ])

  private static let passages = """
    Read these passages.

    {context}

    Answer the question from the passages with a word or a phrase alone.

    Question: {input}
    Answer:
    """

  private static func question(_ instruction: String, _ name: String) -> String {
    """
    \(instruction) and answer the question about it with a phrase, without an explanation.

    \(name): {context}

    Question: {input}
    Answer:
    """
  }

  private static func summary(_ name: String) -> String {
    "Read this \(name) and summarize it on one page.\n\n{context}\n\nSummary of the \(name):"
  }
}
