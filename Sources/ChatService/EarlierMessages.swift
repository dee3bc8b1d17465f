import SharedPack

/// The oldest messages of a conversation, which have left the window, as a text that is asked about like a document.
struct EarlierMessages: Sendable {
  /// Who says it stands before each message, and a blank line behind it.
  private(set) var text = ""
  /// The messages in the text: the number of each in the request, and its bytes.
  private(set) var places: [(number: Int, bytes: Range<Int>)] = []
  /// Tokens and chunks of the text.
  var tokenCount = 0
  var chunkCount = 0

  /// - Parameters:
  ///   - messages: those of the system are left out, as they stay.
  ///   - number: of the first one in the request.
  init(_ messages: some Sequence<ChatMessage>, number: Int) {
    for (index, message) in messages.enumerated() where message.role != .system {
      let start = text.utf8.count
      text += "\(message.role == .user ? "User" : "Assistant"): \(message.content)\n\n"
      places.append((number + index, start..<text.utf8.count))
    }
  }

  /// The numbers of the first and the last message that some bytes of the text are of.
  func messages(in bytes: Range<Int>) -> (first: Int, last: Int)? {
    let found = places.filter { $0.bytes.overlaps(bytes) }
    guard let first = found.first, let last = found.last else { return nil }
    return (first.number, last.number)
  }
}

extension ChatService {
  /// The prompt of a conversation that does not fit the window with all of its messages: the oldest ones leave it, as
  /// many turns as have to, and become a text of which the question reads what it needs. What the system says stays,
  /// and so does the question.
  /// - Parameters:
  ///   - whole: the prompt with all messages.
  ///   - documents: what is read of documents.
  /// - Returns: nil when it fits, or nothing that leaves would make it fit.
  func overflowing(
    _ request: ChatRequest, _ whole: PreparedPrompt, about documents: (store: DocumentStore, inquiry: Inquiry)?,
    for caller: Caller
  ) throws(Refusal) -> PreparedPrompt? {
    let model = engine.model
    // An answer that has no room is none.
    let room = min(request.fields.options.maxTokens, model.window / 4)
    guard let overflow, whole.tokens.count + (whole.context?.tokensBefore ?? 0) + room > model.window else {
      return nil
    }
    let form = documents?.store.store.configuration.text
    // A text that was read exactly ends in the prompt.
    if form?.manner == .exact { return nil }
    let frame = documents == nil ? overflow.frame : form?.frame
    let messages = request.messages
    func staying(from cut: Int) -> [ChatMessage] {
      let instructions = messages[..<cut].filter { $0.role == .system }.map(\.content)
      return (instructions.isEmpty ? [] : [.system(instructions.joined(separator: "\n\n"))]) + messages[cut...]
    }
    // Templates want a conversation to begin with the user's message.
    let cuts = messages.indices.filter { index in
      messages[index].role == .user && messages[..<index].contains { $0.role != .system }
    }
    guard !cuts.isEmpty else { return nil }
    let left = model.window - overflow.tokensBefore(documents?.inquiry, in: frame)
    var (low, high) = (0, cuts.count - 1)
    while low < high {
      let middle = (low + high) / 2
      if try model.tokens(of: staying(from: cuts[middle]), behind: frame).count + room <= left {
        high = middle
      } else {
        low = middle + 1
      }
    }
    let stay = staying(from: cuts[low])
    guard try model.tokens(of: stay, behind: frame).count < left, let question = messages.last?.content else {
      return nil
    }

    var earlier = EarlierMessages(messages[..<cuts[low]], number: request.offset)
    let inquiry =
      if let documents {
        try overflow.inquiry(
          question, adding: earlier.text, to: documents.inquiry, of: documents.store, scope: caller.scope)
      } else {
        try overflow.inquiry(question, about: earlier.text, scope: caller.scope)
      }
    earlier.tokenCount = inquiry.documents.last?.tokenCount ?? 0
    earlier.chunkCount = inquiry.documents.last?.chunkCount ?? 0
    var prepared = try model.prompt(of: stay, asking: inquiry, in: frame)
    prepared.earlier = earlier
    return prepared
  }
}
